"""The flags of predict.py, app.py, enroll.py and evaluate_enrolment.py, declared once."""

from dataclasses import dataclass
from pathlib import Path

from config import Config, Machine, number, opt


@dataclass(frozen=True)
class ModelConfig(Machine):
    """A trained model at work."""

    model_folder: Path = opt(Path("models/try"), "folder of a trained model that calibrate.py has seen")
    SSL_path: str = opt(Config.SSL_path, "XLS-R of a W2VAASIST whose own has moved: see main_train.py")
    hop: float = opt(None, "seconds between windows; left out: half a window, 2.02 s", type=number(float, 0.05))
    batch_size: int = opt(24, "windows at a time", type=number(int, 1))


@dataclass(frozen=True)
class TraceConfig(ModelConfig):
    """How a file is traced, whichever script asks."""

    ood_detector_name: str = opt(None, "detector that tells unknown codecs; left out: the default of calibration.py")
    registry: Path = opt(None, "registry of enrolled sources, written by enroll.py")
    taxonomy_model: tuple[Path, ...] = opt(
        (), "models of main_train_taxonomy.py, or published .pth files, that add VQ, AUX and DEC", nargs="+", type=Path
    )
    min_probability: float = opt(
        0.5, "a source is named when its probability is at least this", type=number(float, 0, 1.0001)
    )
    min_agreement: float = opt(
        0.6, "a source is named when at least this share of the windows agrees", type=number(float, 0, 1.0001)
    )


@dataclass(frozen=True)
class PredictConfig(TraceConfig):
    files: tuple[str, ...] = opt(
        (),
        "audio files, folders of them, or - for names on standard input, one a line",
        positional=True,
        nargs="+",
        metavar="FILE",
    )
    json: Path = opt(None, "write every figure to this file")
    csv: Path = opt(None, "write a row a file to this file")
    plot: Path = opt(None, "write a picture of each file into this folder")


@dataclass(frozen=True)
class AppConfig(TraceConfig):
    port: int = opt(8765, "port of 127.0.0.1; 0 takes a free one", type=number(int, 0, 65536))
    max_megabytes: int = opt(200, "largest upload", type=number(int, 1))
    max_minutes: float = opt(60, "longest recording", type=number(float, 0.1))


@dataclass(frozen=True)
class EnrolConfig(ModelConfig):
    name: str = opt(None, "name of the new source", positional=True)
    clips: tuple[str, ...] = opt(
        (), "its audio files, 5 or more, or folders of them", positional=True, nargs="+", metavar="CLIP"
    )
    registry: Path = opt(Path("registry.safetensors"), "registry that is written, or added to")
    replace: bool = opt(False, "enrol a name anew that the registry has already")


@dataclass(frozen=True)
class EnrolmentConfig:
    """How enrolment is evaluated."""

    save_feats: Path = Config.__dataclass_fields__["save_feats"]
    k: tuple[int, ...] = opt((1, 5, 10, 20), "clips enrolled of each source", nargs="+", type=number(int, 1))
    draws: int = opt(20, "random choices of the enrolled clips", type=number(int, 1))
    seed: int = opt(688, "random seed", type=number(int, 0, 2**32))
    json: Path = opt(None, "also write the figures to this file")
