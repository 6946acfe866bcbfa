"""Train the demo corpus's neural codecs: at most four CPU-minutes each, on synthesised speech.

    python -m demo.train_codecs                      # all of demo/zoo.py, half an hour on one core
    python -m demo.train_codecs --codec larch --weights my_weights

Writes WEIGHTS/NAME.safetensors (float16) and the card WEIGHTS/NAME.json: architecture, bit rate, taxonomy, and the
quality that the stored weights reach on speech they have not seen.
"""

import argparse
from pathlib import Path

from demo.zoo import WEIGHTS, ZOO_BY_NAME
from utils.errors import InputError, run


def training_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--codec", nargs="+", default=list(ZOO_BY_NAME), choices=list(ZOO_BY_NAME), help="train only these"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder to write (default: demo/weights)")
    parser.add_argument("--steps", type=int, help="steps of training, for a quick look (default: the row's own)")
    arguments = parser.parse_args(argv)
    if arguments.steps is not None and arguments.steps < 1:
        raise InputError(f"--steps is {arguments.steps}, expected at least 1")
    return arguments


def main(argv=None):
    arguments = training_arguments(argv)
    import torch

    from demo.codec import training_speech
    from demo.codec_training import UTTERANCES, train_and_save

    torch.set_num_threads(1)  # sums in one order: the same weights from every run
    speech = training_speech(UTTERANCES)
    for name in arguments.codec:
        row = ZOO_BY_NAME[name]
        train_and_save(row, speech, arguments.weights, arguments.steps or row.steps)


if __name__ == "__main__":
    run(main)
