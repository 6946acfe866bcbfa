"""Flags of check_data.py, audit_shortcuts.py and evaluate_laundering.py, beyond those of config.py."""

from dataclasses import dataclass
from pathlib import Path

from config import Config
from utils.flags import number, opt


@dataclass(frozen=True)
class CheckConfig(Config):
    """Flags of check_data.py."""

    system: str = opt("codecs", "corpus: ST-Codecfake's conditions, or CodecFake+", choices=("codecs", "taxonomy"))
    codec_table: Path = opt(None, "with --system taxonomy: text file of further codecs, lines of NAME AUX DEC VQ")
    fast: bool = opt(False, "names and headers alone: no sample is decoded, no compressed archive read through")
    check_folder: Path = opt(Path("result/check_data"), "folder of findings.csv and files.csv")


@dataclass(frozen=True)
class TreatConfig(Config):
    """Flags of the scripts that run a model on treated speech."""

    max_clips: int = opt(0, "use so many clips of each class, drawn by --seed; 0: all", type=number(int, 0))
    treatment: tuple[str, ...] = opt(("all",), "run these treatments alone", nargs="+", metavar="NAME")
