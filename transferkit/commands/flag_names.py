"""The names that other tools give to flags, commands and values of ours: fastai, timm, torchvision, ultralytics, Keras,
scikit-learn, Lightning, Hugging Face."""

_COUNTERPARTS = {  # flags of ours, with a value if it is always the same, or a remark: names elsewhere
    "--lr": "learning-rate learn-rate lr0 eta initial-lr init-lr base-lr max-lr blr lr-max step-lr peak-lr rate alpha",
    "--lr-per": "lr-base lr-base-size scale-lr auto-scale-lr",
    "--base": (
        "model arch network net architecture backbone model-name model-path model-name-or-path encoder base-model "
        "from pretrained-model run checkpoint ckpt load model-dir estimator trunk"
    ),
    "--epochs": (
        "epoch num-epochs n-epochs nb-epochs nepochs max-epochs num-train-epochs max-epoch ep e total-epochs "
        "train-epochs iterations epoch-count"
    ),
    "--head-epochs": "freeze-epochs frozen-epochs warmup-head-epochs",
    "--size": (
        "imgsz img-size image-size input-size img imsize crop-size train-crop-size val-crop-size resolution "
        "target-size im-size image-dim resize input-shape val-resize-size"
    ),
    "--batch-size": "batch bs train-batch-size per-device-train-batch-size batchsize mini-batch-size b eval-batch-size",
    "--weight-decay": "wd l2 weightdecay l2-reg decay weight-decay-rate",
    "--unfreeze (what is trained: head, last-stage, all)": (
        "freeze frozen-layers freeze-layers freeze-backbone freeze-at freeze-until unfreeze-layers trainable "
        "trainable-layers fine-tune-at freeze-epoch finetune-layers"
    ),
    "--unfreeze head": (
        "freeze-base freeze-encoder freeze-features head-only linear-probe feature-extract feature-extraction "
        "transfer linear-probing train-head-only"
    ),
    "--recipe": "config cfg config-file hyp hyp-file settings params yaml conf preset training-config",
    "--out": (
        "output output-dir save-dir project outdir logdir log-dir save save-path output-path o output-folder dest "
        "out-dir result-dir results-dir runs-dir name experiment run-name exp-name destination default-root-dir "
        "out-file output-file workdir work-dir"
    ),
    "--log (tensorboard, mlflow:URI or wandb:PROJECT)": (
        "tensorboard wandb log-wandb mlflow logger report-to use-wandb tb trackers"
    ),
    "--overwrite": "exist-ok force overwrite-output-dir f yes",
    "--resume": "resume-from continue resume-from-checkpoint ckpt-path continue-from auto-resume",
    "--validation": (
        "val-split validation-split val-size test-size valid-pct val-fraction split-ratio val-ratio validation- "
        "fraction val-percent holdout test-split valid-size"
    ),
    "--folds": "cross-validation cv kfold k-fold n-folds n-splits num-folds k-folds kfolds nfolds cross-validate",
    "--devices (all, cpu, or numbers of GPUs as 0,1)": (
        "gpus device gpu num-gpus ngpus cuda accelerator gpu-ids gpu-id n-gpu num-devices no-cuda use-cpu cpu "
        "strategy distribute"
    ),
    "--workers (host:port of each process)": (
        "world-size dist-url nnodes nproc-per-node hosts num-nodes nodes num-machines local-rank"
    ),
    "--weights": (
        "pretrained checkpoint-path pretrained-weights init-weights initial-checkpoint pretrained-path init load- "
        "weights weights-path pretrain init-checkpoint load-from"
    ),
    "--weights none": "no-pretrained from-scratch random-init not-pretrained scratch",
    "--optimizer": "opt optim optimiser solver optim-type",
    "--schedule": (
        "sched scheduler lr-scheduler lr-schedule lr-policy lr-scheduler-type scheduler-type lrf cos-lr annealing "
        "lr-decay-style anneal"
    ),
    "--warmup (a fraction of the steps, as 0.1)": (
        "warmup-epochs warmup-steps lr-warmup-epochs warmup-ratio num-warmup-steps warmup-iters lr-warmup warmup- "
        "lr warmup-t"
    ),
    "--milestones (fractions, as 0.5,0.75)": (
        "decay-epochs lr-step-size lr-steps decay-milestones lr-milestones step-size lr-decay-epochs lr-drop- epochs"
    ),
    "--drop": "lr-gamma gamma decay-rate lr-decay lr-factor lr-decay-rate factor lr-drop",
    "--stop-after": (
        "early-stopping early-stop early-stopping-patience early-stop-patience patience-epochs early-stopping- "
        "rounds n-iter-no-change max-patience es-patience"
    ),
    "--augment": (
        "aug aa augmentation augmentations transforms auto-augment transform augmenter data-augmentation "
        "autoaugment randaugment rand-augment ra-magnitude trivial-augment train-transforms augs augmentation- "
        "policy"
    ),
    "--augment none": "no-aug no-augment no-augmentation",
    '--augment "heavy | mixup"': "mixup mixup-alpha mix-up",
    '--augment "heavy | cutmix"': "cutmix cutmix-alpha cut-mix",
    '--augment "crop | flip | erase"': "reprob random-erase random-erasing erasing cutout re-prob",
    '--augment (steps, as "crop(0.5) | flip")': (
        "hflip fliplr flipud vflip degrees scale ratio color-jitter jitter horizontal-flip vertical-flip rotation "
        "rotation-range zoom-range hsv-h hsv-s hsv-v rotate brightness contrast hue shear translate zoom width- "
        "shift-range random-crop"
    ),
    "--precision": "amp fp16 half bf16 mixed-precision dtype use-amp fp32 amp-dtype float16 bfloat16 torch-dtype",
    "--label-smoothing": "smoothing smooth label-smooth ls smoothing-factor label-smoothing-factor",
    "--clip": "clip-grad clip-grad-norm grad-clip max-grad-norm gradient-clip-val clipnorm gradient-clip clip-norm",
    "--ema": "model-ema ema-decay model-ema-decay use-ema swa ema-momentum",
    "--soup": "swa-epochs checkpoint-average avg-checkpoints model-soup",
    "--accumulate": (
        "grad-accum-steps gradient-accumulation-steps accumulation-steps accum-iter nbs accumulate-grad-batches "
        "grad-accumulation grad-accum"
    ),
    "--balance weights": "class-weight class-weights weighted-loss use-class-weights cls-pw balanced",
    "--balance focal": "focal focal-loss",
    "--balance sampling": "weighted-sampler oversample balanced-sampler ra-sampler oversampling undersample",
    "--data": (
        "data-dir dataset data-path dataset-path train-dir train-data images source input image image-dir img-dir "
        "data-root root path folder directory input-dir imagedir dir i d train-folder image-folder pictures "
        "photos datadir dataset-dir dataset-name images-dir input-folder train val-dir valid-dir test-dir val- "
        "data validation-data test-data image-path"
    ),
    "--seed": "random-state random-seed rng-seed manual-seed seeds",
    "--determinism on": "deterministic reproducible",
    "--time": "time-limit max-time time-budget timeout budget max-duration train-time",
    "--teacher": "distill distillation teacher-model kd-model",
    "--temperature": "kd-temperature distillation-temperature kd-temp",
    "--layer-decay": "llrd layer-wise-decay discriminative-lr lr-mult layerwise-lr-decay backbone-lr-mult lr-div",
    "--momentum": "mom sgd-momentum beta1 moms",
    "--fraction": "subset data-fraction limit-train-batches percent sample-fraction train-fraction subset-fraction",
    "--per-class": "shots few-shot n-shot samples-per-class max-per-class k-shot images-per-class",
    "--memory": "cache cache-images cache-dataset cache-ram ram",
    "--no-cache": "nocache disable-cache",
    "--checkpoint-minutes": "save-period save-freq checkpoint-freq save-steps recovery-interval checkpoint-interval",
    "--keep": "save-best save-best-only monitor load-best-model-at-end save-top-k",
    "--bn": "freeze-bn batchnorm bn-mode freeze-norm norm-eval",
    "--channels": "in-chans in-channels grayscale greyscale num-channels color-mode ch rgb gray",
    "--group-by": "groups group patient-id group-col group-column",
    "--label-col": "label-column target target-column y-col labels-col class-col target-col",
    "--image-col": "image-column x-col path-col file-col filename-col filepath-col path-column file-column fn-col",
    "--split-col": "split-column valid-col set-col",
    "--class-order": "class-names class-map labels",
    "--fit": (
        "crop-mode resize-mode resize-method crop-pct pad-to-aspect-ratio keep-aspect-ratio rect aspect-ratio "
        "item-tfms preserve-aspect-ratio"
    ),
    "--dry-run": "plan only-plan check-only no-train n show-config print-config simulate fast-dev-run",
    "--top": "topk top-k k num-predictions max-results n-neighbors num-results n-neighbours",
    "--layer": "layers layer-name feature-layer output-layer return-nodes out-indices feature-layers",
    "--pool": "pooling global-pool gp pooling-type",
    "--classifier": "clf head-type probe classifier-type",
    "--json": "as-json json-output to-json jsonl",
    "--format": "output-format fmt format-output",
    "--crops": "five-crop n-crops ten-crop",
    "--flip": "tta test-time-augmentation tta-flip",
    "--metric": "distance distance-metric dist",
    "--filter": "search pattern query grep",
    "--strict": "fail-on-error",
    "--html": "report html-report write-html",
    "--quarantine": "delete remove move clean fix remove-bad delete-corrupt",
    "--import": "custom-objects modules",
    "--debug": "traceback trace",
    "--version": "v",
}
COUNTERPARTS = {name: ours for ours, names in _COUNTERPARTS.items() for name in names.split()}
SHORT = {"-lr": "--lr", "-m": "--base", "-a": "--base", "-r": "--recipe", "-c": "--recipe", "-k": "--top"}
# what has no flag here: names elsewhere
_NO_COUNTERPART = {
    "dropout is a knob of a network, as in --base 'alexnet(dropout=0.3)'; `transferkit inspect NAME` lists them": (
        "dropout drop-rate drop-path dropout-rate drop-path-rate stochastic-depth drop-connect head-dropout"
    ),
    "the loss is cross-entropy; --balance focal and --label-smoothing change it": (
        "loss criterion loss-fn bce-loss loss-function objective bce loss-func"
    ),
    "accuracy, balanced accuracy, log-loss and the calibration are always measured": (
        "metrics eval-metric eval-metrics scoring"
    ),
    "the classes are the folders of --data": "num-classes n-classes nb-classes nc num-labels class-mode n-class",
    "pictures are read by all processors": (
        "num-workers j jobs n-jobs nproc num-threads threads pin-mem pin-memory dataloader-num-workers prefetch "
        "prefetch-factor persistent-workers loader-workers"
    ),
    "training always shuffles, by --seed": "shuffle no-shuffle shuffle-buffer",
    "progress goes to standard error: 2>/dev/null hides it": (
        "quiet q silent no-progress progress disable-tqdm progress-bar no-verbose"
    ),
    "curves.png, history.csv and metrics.json of the run have the figures": (
        "plots plot csv-logger log-interval log-every-n-steps"
    ),
    "`transferkit export RUN --to onnx` exports a run": "export-onnx onnx tflite save-model",
    "Keras decides what is compiled": "compile jit torchcompile torchscript xla channels-last jit-compile",
    "the learning rate falls to zero": "min-lr lr-min lr-end eta-min final-lr",
    "`transferkit evaluate RUN --data FOLDER` measures a run": (
        "test test-only evaluate eval eval-only only-test do-eval validate val-only no-val val"
    ),
    "`transferkit predict RUN FOLDER` classifies pictures": "predict do-predict infer",
    "`transferkit finetune --data FOLDER` trains": "do-train",
    "the probabilities are printed, and a limit for them is yours to choose": (
        "threshold conf conf-threshold confidence score-threshold conf-thres min-confidence prob-threshold iou"
    ),
    "the mean and the standard deviation belong to the weights, and `transferkit inspect NAME` shows them": (
        "mean std normalize rescale preprocess preprocessing interpolation normalization"
    ),
    "one command, one task: classification of pictures": "task mode classify problem-type",
    "the epochs or --time say how long training takes": (
        "steps max-steps iters max-iters steps-per-epoch steps-per-execution train-steps num-steps n-iter"
    ),
    "--momentum is that of sgd, and adamw has Keras' own constants": (
        "betas beta2 eps epsilon opt-eps opt-betas adam-beta1 adam-beta2 adam-epsilon rho"
    ),
}
NO_COUNTERPART = {name: sentence for sentence, names in _NO_COUNTERPART.items() for name in names.split()}
_COMMANDS = {  # what to type: names elsewhere
    "`transferkit finetune --data FOLDER` trains on your own pictures": (
        "fit fine-tune tune transfer retrain fit-one-cycle finetuning fine-tuning finetune-model run start "
        "teach transfer-learn"
    ),
    "`transferkit train --data FOLDER` trains from scratch": "training train-model scratch pretrain",
    "`transferkit evaluate RUN --data FOLDER` measures a run": (
        "val validate test eval score benchmark metrics evaluation validation measure report accuracy"
    ),
    "`transferkit predict RUN PICTURE` classifies pictures": (
        "classify infer inference predictions label detect recognize recognise prediction apply"
    ),
    "`transferkit extract --data FOLDER --out FEATURES.npz` extracts features": (
        "features embed embeddings encode vectors feature-extract extract-features embedding featurize feature"
    ),
    "`transferkit models` lists the networks": (
        "list ls networks zoo model model-list archs architectures list-models backbones"
    ),
    "`transferkit inspect NAME` shows a network": (
        "info summary describe show layers plot-model profile flops visualize visualise params"
    ),
    "`transferkit export RUN --to onnx` exports a run": "convert save onnx tflite quantize quantise",
    "`transferkit serve RUN` answers over HTTP": "deploy server api",
    "`transferkit check FOLDER` finds bad files and duplicates": (
        "clean dedupe duplicates dedup lint audit validate-data find-duplicates dups analyze analyse stats "
        "sanity cleanup"
    ),
    "finetune and train split pictures themselves: --validation 0.2": "split split-data train-test-split split-folders",
    "`transferkit data preview FOLDER` draws augmented pictures": (
        "augment augmentation aug augs transforms preview show-batch"
    ),
    "`transferkit similar FEATURES.npz PICTURE` finds similar pictures": (
        "search nearest neighbours neighbors retrieve knn find-similar similarity retrieval"
    ),
    "`transferkit lr-find --data FOLDER` finds a learning rate": (
        "lrfind find-lr lr learning-rate lr-finder tune-lr lr-range-test"
    ),
    "`transferkit probe --data FOLDER` compares networks": (
        "leaderboard linear-probe rank select logreg cross-validate cv"
    ),
    "`transferkit compare RUN_A RUN_B` compares two runs": "diff mcnemar compare-runs significance",
    "`transferkit weights fetch NETWORK` downloads weights": "download pull get fetch-weights",
    "`transferkit push RUN hf://USER/NAME` uploads a run": "upload publish share push-to-hub",
    "`transferkit finetune --resume RUN` continues a run": "resume continue",
    "`transferkit doctor` checks the installation": (
        "checks env diagnose selftest self-test status install check-install"
    ),
    "`transferkit --version` prints it": "version",
    "`transferkit --help` lists the commands": "help commands usage",
    "`transferkit demo` tries everything": "example quickstart tutorial try hello init",
    "docs/recipes.md lists the recipes, for `transferkit train --recipe NAME`": (
        "recipes recipe config cfg settings presets"
    ),
}
COMMANDS = {name: sentence for sentence, names in _COMMANDS.items() for name in names.split()}
_VALUES = {  # (parameter, value): its names elsewhere, without separators
    ("optimizer", "adamw"): "adam adamax nadam radam rmsprop adadelta lion adagrad",
    ("optimizer", "sgd"): "momentum nesterov sgdm msgd",
    ("schedule", "cosine"): "cosineannealing cosinedecay cos coswarm",
    ("schedule", "step"): "multistep steplr multisteplr",
    ("schedule", "plateau"): "reducelronplateau reduceonplateau",
    ("schedule", "polynomial"): "linear poly",
    ("schedule", "one_cycle"): "onecycle fitonecycle 1cycle superconvergence",
    ("schedule", "constant"): "none fixed flat off",
    ("precision", "mixed_float16"): "fp16 float16 half amp 16 16mixed mixed",
    ("precision", "mixed_bfloat16"): "bf16 bfloat16 bf16mixed",
    ("precision", "float32"): "fp32 32 full float single",
    ("fit", "squash"): "stretch resize warp squish distort",
    ("fit", "pad"): "letterbox contain border reflect",
    ("fit", "crop"): "center centercrop centrecrop cover",
    ("balance", "weights"): "classweights classweight weighted balanced loss",
    ("balance", "sampling"): "sampler oversample oversampling weightedsampler",
    ("determinism", "on"): "true yes 1",
    ("determinism", "off"): "false no 0",
    ("nesterov", "on"): "true yes 1",
    ("nesterov", "off"): "false no 0",
    ("refit", "on"): "true yes 1",
    ("refit", "off"): "false no 0",
    ("start", "probe"): "logreg regression linear linearprobe",
    ("start", "fresh"): "random scratch none",
    ("bn", "frozen"): "freeze off false eval",
    ("bn", "train"): "on true unfrozen",
    ("keep", "mix"): "average wiseft soup swa",
    ("keep", "last"): "final latest",
    ("quality", "balanced"): "medium normal default good",
    ("quality", "best"): "high slow max",
    ("quality", "fast"): "low quick draft",
    ("form", "jsonl"): "ndjson jsonlines",
    ("form", "table"): "text txt plain",
}
VALUES = {(name, other): ours for (name, ours), others in _VALUES.items() for other in others.split()}
