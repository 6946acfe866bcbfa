"""Flags of audit_shortcuts.py and evaluate_laundering.py, beyond those of config.py."""

from dataclasses import dataclass

from config import Config
from utils.flags import number, opt


@dataclass(frozen=True)
class TreatConfig(Config):
    """Flags of the scripts that run a model on treated speech."""

    max_clips: int = opt(0, "use so many clips of each class, drawn by --seed; 0: all", type=number(int, 0))
    treatment: tuple[str, ...] = opt(("all",), "run these treatments alone", nargs="+", metavar="NAME")
