"""Training from pictures to a run folder: the initial head, phase after phase, then the figures."""

import dataclasses
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Unpack

from transferkit import run_folder, run_writing, runs
from transferkit.atomic import read
from transferkit.console import say, warn
from transferkit.data.audit import before_training
from transferkit.data.listing import Listing
from transferkit.evaluation import metrics, shift, verification
from transferkit.evaluation.predict import evaluate, predict_outputs
from transferkit.knobs import Knobs
from transferkit.lookup import as_text, count_noun
from transferkit.network import Network, for_inference
from transferkit.training import calibrate, closing_pages, cross_validation, phase_loop, refit, trackers
from transferkit.training.clock import Clock
from transferkit.training.distributed import workers
from transferkit.training.fitting import (
    checkpoints,
    fit_phase,
    freezing,
    head_init,
    history,
    user_callbacks,
    weight_averaging,
    weight_interpolation,
)
from transferkit.training.job_records import Plan, TrainingJob
from transferkit.training.planning import time_budget
from transferkit.training.planning.planner import make_plan, plan_pictures


def finetune(
    base: str | os.PathLike,
    train,
    val=None,
    *,
    test=None,
    out: str | os.PathLike | None = None,
    overwrite: bool = False,
    callbacks: Sequence = (),
    **knobs: Unpack[Knobs],
) -> runs.Run:
    """Fine-tune a network on pictures.

    Args:
        base: a network of `transferkit models`, a run folder, or a `.keras` file of a run; "auto" is the best by a
            probe of the networks whose weights are downloaded.
        train, val: pictures with classes: a path or name as of `--data`, a list of paths (the folder of each is its
            class), a listing, or for train alone the `Splits` of `find_splits`. A path alone is trained on as
            `transferkit finetune --data` does, with its val/ and test/ if it has them. Without val, the
            fraction `validation` of train is held out for evaluation; with `refit`, the saved network is trained on it
            too.
        test: pictures that are evaluated once, at the end.
        out: folder of the run; by default `runs/finetune-<base>-<data>-<n>`, without the data if that is not a path.
        overwrite: replace a run folder that exists.
        callbacks: Keras callbacks, which see each phase as a `fit` of its own whose epochs are counted on; `logs` of an
            epoch are the figures of `history.csv`. `self.model` is what the phase trains: below a frozen part, what
            comes after it. `model.stop_training` ends the phase, and an error ends the run, both after the epoch is
            saved. They do not see the training again on all pictures (`refit`).
        **knobs: fields of the recipe, as `transferkit finetune --help-all` lists them; those about the source, such as
            `group_by`, for a path alone. Rules choose what is not given.

    Returns:
        The run: `run.network.model` is a plain Keras model, `run.metrics` its figures.

    Raises:
        UnknownName, FileNotFoundError: a knob, network, layer, augmentation or path is not known.
        ValueError: a knob is out of range, or pictures, weights, folder or callbacks cannot be used.

    Example:
        >>> run = tk.finetune("resnet34", "pets/", epochs=5)  # doctest: +SKIP
        >>> run.metrics["accuracy"]  # doctest: +SKIP
        >>> train, val = tk.list_images("pets/").split(0.2)  # doctest: +SKIP
        >>> run = tk.finetune("resnet34", train, val, out="runs/pets")  # doctest: +SKIP
    """
    run_folder.check_output(out, overwrite=overwrite, base=as_text(base, "base"))
    callbacks = user_callbacks.check_callbacks(callbacks)
    plan = plan_pictures(base, train, val, test, knobs)
    name = "-".join(map(run_folder.slug, filter(None, (str(base), plan.recipe.data.data))))
    folder = make_shared_folder(plan, out, overwrite=overwrite, name=f"runs/finetune-{name}")
    return train_plan(plan, folder, callbacks)


def make_shared_folder(plan: Plan, out: str | os.PathLike | None, *, overwrite: bool, name: str) -> Path:
    """`run_folder.make_run_folder` for a new run; of several workers only the first writes there."""
    if plan.device.shard[0]:
        return workers.make_worker_folder()
    return run_folder.make_run_folder(out, overwrite=overwrite, name=name)


def train_plan(plan: Plan, folder: Path, callbacks: Sequence = ()) -> runs.Run:
    """Train what was planned, with callbacks as `finetune` takes them, and write the run folder."""
    with run_folder.lock_run(folder):
        recipe = time_budget.without_planned_epochs(plan.recipe)
        run_writing.write_inputs(folder, recipe, plan.splits, plan.unreadable, plan.device.name, plan.choices)
        return _run(TrainingJob(plan, folder, dict(plan.unreadable), callbacks=tuple(callbacks)))


def resume(folder: str | os.PathLike, *, callbacks: Sequence = ()) -> runs.Run:
    """Resume an interrupted run from its last checkpoint, with callbacks as `finetune` takes them.

    Raises:
        FileNotFoundError: there is no such run folder.
        ValueError: the run is complete, another process trains in it, or its files cannot be used.

    Example:
        >>> resume("runs/finetune-resnet34-1").metrics["accuracy"]  # doctest: +SKIP
        0.94
    """
    return _resume(folder, Clock(), user_callbacks.check_callbacks(callbacks))


def _resume(folder: str | os.PathLike, clock: Clock, callbacks: Sequence = ()) -> runs.Run:
    """Resume a run as a part of a job that the clock measures."""
    run = runs.load_run(folder)
    if (run.folder / "metrics.json").exists() and not run.metrics["interrupted"]:
        raise ValueError(f"{folder} is complete: to train it further, start a new run with --base {folder}.")
    if (cluster := workers.find_cluster(run.recipe.train.workers)) and cluster.rank:
        run = runs.load_run(workers.make_worker_folder(run.folder))
    with run_folder.lock_run(run.folder):
        plan = make_plan(run.recipe, run.splits)
        plan = dataclasses.replace(plan, unreadable=run.unreadable + plan.unreadable, clock=clock)
        job = TrainingJob(plan, run.folder, dict(plan.unreadable), callbacks=tuple(callbacks))
        if not job.knobs.folds:
            state = checkpoints.load_state(run.folder)
            done = len([row for row in state.history if row["epoch"]])
            steps = f" and {count_noun(state.step, 'step')}" if state.step else ""
            say(f"Resuming after {done} of {count_noun(job.knobs.epochs, 'epoch')}{steps}.")
        return _run(job)


def _run(job: TrainingJob) -> runs.Run:
    if job.knobs.folds:
        return cross_validation.train_folds(job, train_plan, _resume)
    is_first = job.device.shard[0] == 0
    with ExitStack() as stack:
        opened = stack.enter_context(trackers.open_trackers(job.plan.recipe, job.folder)) if is_first else []
        logs = map(trackers.log_epochs, opened)
        run = _train_and_evaluate(dataclasses.replace(job, callbacks=(*job.callbacks, *logs)))
        for tracker in opened:
            trackers.finish(tracker, run.metrics)
    return run


def _train_and_evaluate(job: TrainingJob) -> runs.Run:
    """Train from wherever the run is, then evaluate and write the run. Ctrl-C leads to the evaluation at once."""
    interrupted, predict_validation = False, None
    try:
        predict_validation = phase_loop.train_phases(job)
    except fit_phase.TrainingDivergedError as error:
        if not checkpoints.load_state(job.folder).history:
            raise
        warn(f"{error} The best weights so far are kept.")
    except KeyboardInterrupt:
        if not checkpoints.load_state(job.folder).history:
            say(f"No epoch is complete yet: --resume {job.folder} starts again.")
            raise
        say("Interrupted: the best weights so far are evaluated and saved. Ctrl-C again ends at once.")
        interrupted = True
    checkpoints.load_weights(job.network, job.checkpoint_path(checkpoints.BEST))
    averages = _average_weights(job, interrupted)
    outputs = None
    # averaged weights may differ from the stored frozen features too, where an earlier phase trained the frozen part
    if predict_validation and not any(averages.values()) and not job.splits.test:
        outputs = predict_validation()
    return _finish(job, averages, outputs, interrupted=interrupted)


def _average_weights(job: TrainingJob, interrupted: bool) -> dict:
    """Average the network's weights as the recipe asks, and return the entries "soup" and "mix" of `metrics.json`."""
    soup = mix = None
    if job.knobs.soup and not interrupted:
        soup = weight_averaging.average_epochs(job, checkpoints.load_state(job.folder).history)
    if job.knobs.keep == "mix" and job.checkpoint_path(weight_interpolation.START).exists():
        mix = weight_interpolation.interpolate_weights(job)
    return {"soup": soup, "mix": mix}


def _finish(job: TrainingJob, averages: dict, outputs, *, interrupted: bool) -> runs.Run:
    """Evaluate on test, or on val if there is no test, and write the run.

    With `refit` on, val measures the network that was not trained on it, and test the network that is saved. Both have
    the temperature that calibrates the first one on val.

    Args:
        averages: as `_average_weights` returns them.
        outputs: logits and rows of the validation pictures, where they are known already.
    """
    split = "test" if job.splits.test else "val"
    listing, evaluation = getattr(job.splits, split), None
    freezing.unfreeze(job.network, "all", bn="train")  # in the saved model nothing is frozen
    should_refit = job.knobs.refit == "on" and not interrupted
    outputs = outputs or predict_outputs(
        for_inference(job.network).model, job.splits.val.paths, job.network.pixels, what="evaluation"
    )
    temperature, held_out = calibrate.fit_calibration(job, outputs)
    evaluated = dataclasses.replace(job.network, temperature=temperature)
    if split == "val":
        evaluation = evaluate(evaluated, listing, outputs, held_out)
    elif not should_refit:
        evaluation = evaluate(evaluated, listing)
    network, is_refitted = evaluated, False
    if should_refit:
        network, interrupted = _refit(job, averages)
        is_refitted = network is not job.network
        network = dataclasses.replace(network, temperature=temperature)
    figures, predictions = evaluation or evaluate(network, listing)
    rows = checkpoints.load_state(job.folder).history
    kept = history.find_kept_epoch(rows, job.knobs.keep)
    if split == "val":
        verification.check_measured(figures, (averages["mix"] or averages["soup"] or kept)["val_accuracy"])
    if split == "val" and averages["mix"]:
        figures["ci95"] = list(metrics.corrected_interval(figures, averages["mix"]["optimism"]))
    predicted = {row["path"] for row in predictions}
    readable = [row for row, path in enumerate(listing.paths) if path in predicted]
    job.unreadable.update(before_training.report_unreadable(listing.paths, readable, job.unreadable))
    run_writing.write_unreadable(job.folder, job.unreadable)
    baseline = job.checkpoint_path(head_init.BASELINE)
    figures |= {
        "split": split,
        "baseline": head_init.compare_to_baseline(read(baseline), predictions) if baseline.exists() else None,
        "kept": {name: kept[name] for name in ("phase", "epoch")},
        "refit": len(job.splits.train) + len(job.splits.val) if is_refitted else None,
        "unreadable": len(job.unreadable),
        "interrupted": interrupted,
        "seconds": round(job.plan.elapsed(), 1),
    }
    shift.fit_shift(job.network, network, job.splits.train.paths, job.splits.val.paths).save(job.folder / shift.FILE)
    own = predictions if split == "test" else _predict_few(network, listing, None if is_refitted else outputs)
    results = run_writing.Results(rows, figures | averages, predictions, own)
    closing_pages.write_pages(runs.Run(job.folder), run_writing.write_results(job.folder, network, results))
    if not interrupted:
        checkpoints.delete_tensors(job.folder)
        weight_averaging.delete_epochs(job.folder)
        refit.delete_folder(job.folder)
    return runs.Run(job.folder)


def _predict_few(network: Network, listing: Listing, outputs) -> list[dict]:
    """Predictions of a few pictures by the saved network: the figures are with other temperatures, or of another one.

    Args:
        outputs: logits and rows of the listing's pictures, if the network has given them.
    """
    few = verification.PICTURES
    if outputs:
        return evaluate(network, listing, (outputs[0][:few], outputs[1][:few]))[1]
    return evaluate(network, listing.take(range(len(listing))[:few]))[1]


def _refit(job: TrainingJob, averages: dict) -> tuple[Network, bool]:
    """The network trained again on all pictures, or the job's own where that fails; and whether Ctrl-C was pressed."""
    fraction = averages["mix"]["share"] if averages["mix"] else 1.0
    try:
        network = refit.refit_network(job, fraction)
    except KeyboardInterrupt:
        say("Interrupted: the network that was evaluated is saved.")
        return job.network, True
    except (ValueError, OSError) as error:  # NaN, missing pictures or a full disk must not lose the first training
        warn(f"{error} The network that was evaluated is saved, without the training on all pictures.")
        return job.network, False
    freezing.unfreeze(network, "all", bn="train")
    return network, False
