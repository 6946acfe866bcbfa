"""Settings of a trained model at work, shared by predict.py, app.py and enroll.py."""

from dataclasses import dataclass
from pathlib import Path

from config import Network
from utils.flags import InProject, batch, number, opt, share
from utils.settings import Machine

MIX = "mix"  # values of --channel
EACH = "each"


def channel_choice(text):
    """The value of --channel: mix, each, or a number from 1."""
    return text if text in (MIX, EACH) else number(int, 1)(text)


@dataclass(frozen=True)
class ModelConfig(Machine):
    """The trained model."""

    model_folder: Path = opt(
        InProject("pretrained/real-codecs"),
        "trained and calibrated model: its folder, or its name in the Hugging Face hub, user/model or"
        " user/model@revision; without it, the model of real codecs that comes with this project",
        hub=True,
    )
    SSL_path: str = opt(Network.SSL_path, "XLS-R of a W2VAASIST; read only when the XLS-R used in training has moved")
    hop: float = opt(
        None,
        "seconds from one window to the next; without it 2.02 s, half a window, and 3.03 s with a fingerprint",
        type=number(float, 0.05),
    )
    batch_size: int = opt(24, "windows in a batch", type=batch)


@dataclass(frozen=True)
class TraceConfig(ModelConfig):
    """Verdicts."""

    channel: str = opt(
        MIX,
        "of recordings with several channels: mix, their mean; each, a verdict for each; or the number of one, from 1",
        type=channel_choice,
        metavar="mix|each|N",
    )
    ood_detector_name: str = opt(
        None, "detector of unknown codecs, one of those that calibrate.py has calibrated; without it knn"
    )
    registry: Path = opt(None, "registry of enrolled sources, written by enroll.py")
    taxonomy_model: tuple[Path, ...] = opt(
        (),
        "models of main_train_taxonomy.py, their names in the hub, or published .pth files; they add VQ, AUX and DEC",
        nargs="+",
        hub=True,
        type=Path,
    )
    min_probability: float = opt(
        None,
        "a source is named only when its probability is at least this; without it the limits that the model was"
        " calibrated with, else 0.5",
        type=share,
    )
    min_agreement: float = opt(0.6, "a source is named only when at least this share of the windows agrees", type=share)
