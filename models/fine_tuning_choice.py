"""Which part of an SSL front end is trained: --finetune is none, last:N, all or lora.

This module imports no torch, so that `--help` is quick.
"""

import argparse
import re

NONE, ALL, LORA = "none", "all", "lora"
LAST = re.compile(r"last:([1-9]\d*)")
FORM = f"{NONE}, last:N with N from 1, {ALL} or {LORA}"


def finetune_choice(text):
    """argparse's type of --finetune: the text itself, when it is one of FORM."""
    if text not in (NONE, ALL, LORA) and not LAST.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text} is not known: expected {FORM}")
    return text


def last_layers(choice):
    """N of last:N, None of another value of --finetune."""
    match = LAST.fullmatch(choice)
    return int(match[1]) if match else None
