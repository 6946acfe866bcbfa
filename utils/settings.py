"""Settings that both systems share."""

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from utils.flags import Flags, number, opt, random_seed

# Flags of several configurations, which have them in groups of their own. Each call makes a field.
SSL_PATH = partial(
    opt,
    "facebook/wav2vec2-xls-r-300m",
    "front end: a Hugging Face folder or hub name, fairseq's xlsr2_300m.pt, or tiny-random for a dry run",
)
SEEDS = partial(
    opt,
    (),
    "train one model from each of these seeds, in --out_fold/seed-N",
    nargs="+",
    type=random_seed,
    metavar="N",
)
CONTINUE_TRAINING = partial(opt, False, "resume from the last whole epoch in --out_fold")
METRICS_JSON = partial(opt, None, "also write the metrics to this file", writes="json")


@dataclass(frozen=True)
class Machine(Flags):
    """Machine."""

    gpu: str = opt(
        "", "CUDA_VISIBLE_DEVICES for this run; empty: all that are visible; -1: none; mps: the GPU of a Mac"
    )
    num_workers: int = opt(min(8, (os.cpu_count() or 1) - 1), "loader processes", type=number(int, 0))
    mixed_precision: str = opt("no", "arithmetic of the network on a GPU", choices=("no", "bf16", "fp16"))


@dataclass(frozen=True)
class Compute(Machine):
    """Computation."""

    compile: bool = opt(False, "build the model's code with torch.compile: slower start, faster batches on a GPU")
    on_bad_audio: str = opt(
        "stop",
        "what tracing does with a file that cannot be used: stop, or skip it and list it in bad_audio.csv of --result",
        choices=("stop", "skip"),
    )


@dataclass(frozen=True)
class Channels(Flags):
    """Recordings for --augment channel."""

    noise_folder: Path = opt(None, "folder of recorded noise, such as MUSAN; left out: white noise")
    room_folder: Path = opt(None, "folder of impulse responses of rooms; left out: decaying noise")


@dataclass(frozen=True)
class Outliers(Flags):
    """Outlier exposure."""

    outliers: Path = opt(None, "folder or list of clips of no known class: they should get equal shares of all classes")
    outlier_weight: float = opt(0.5, "weight of the loss on outliers", type=number(float, 0))


@dataclass(frozen=True)
class Intervals(Flags):
    """Bootstrap intervals."""

    resamples: int = opt(1000, "bootstrap resamples behind each 95 % interval; 0: no intervals", type=number(int, 0))
    cluster: str = opt(
        "speaker",
        "what is resampled as a whole, where file names say it (docs/evaluation.md)",
        choices=("speaker", "utterance", "none"),
    )


@dataclass(frozen=True)
class Results(Flags):
    """Results."""

    result: Path = opt(Path("result"), "folder of score files")
    json: Path = METRICS_JSON()


@dataclass(frozen=True)
class DrawnClips(Flags):
    """Number of clips."""

    max_clips: int = opt(0, "use only so many clips of each class, drawn by --seed; 0: all", type=number(int, 0))


@dataclass(frozen=True)
class TreatedClips(DrawnClips):
    """Treated clips of the closed-set test."""

    treatment: tuple[str, ...] = opt(("all",), "use only these treatments", nargs="+", metavar="NAME")
