"""Calibration of a trained network on its validation pictures, at the end of a training."""

import numpy as np

from transferkit import runs
from transferkit.atomic import write
from transferkit.evaluation import calibration
from transferkit.training.job_records import TrainingJob


def fit_calibration(job: TrainingJob, outputs: tuple[np.ndarray, np.ndarray]) -> tuple[float, np.ndarray]:
    """Fit the temperature, and write `calibration.json` for thresholds of `predict`.

    Args:
        outputs: logits and rows of the validation pictures.

    Returns:
        The temperature, and for each of these pictures the one that is fitted without its half of them, for figures.
    """
    logits, rows = outputs
    labels = np.array(job.splits.val.labels)[rows]
    temperature = calibration.fit_temperature(logits, labels)
    probabilities = calibration.to_probabilities(logits, temperature)
    write(job.folder / runs.CALIBRATION, calibration.record_confidences(probabilities, labels))
    return temperature, calibration.cross_fit_temperatures(logits, labels)
