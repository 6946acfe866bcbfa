"""Write a trained model as a folder to give to others, in the form of the Hugging Face hub, and upload it.

    python share_model.py models/w2v --to out/w2v
    python share_model.py models/w2v --to out/w2v --result result --push user/w2v

The folder has model.safetensors, config.json, the calibration where there is one, a card (README.md), and results/ with
the metrics that are in --result. It has no pickle, and no path of this machine: the last part stands for an absolute
path. Every script takes the folder as --model_folder, with models of both systems. A frozen front end is not part of
it: config.json has its name and the SHA-256 of its weights.

Read the card before you upload it. --push needs a token of the hub: `hf auth login`, or the variable HF_TOKEN.
"""

from dataclasses import dataclass
from pathlib import Path

from utils.errors import InputError, run
from utils.flags import Flags, opt, parse_flags


@dataclass(frozen=True)
class ShareConfig(Flags):
    """The model and where it goes."""

    folder: Path = opt(None, "folder of a trained model, or its name in the hub", positional=True, hub=True, type=Path)
    to: Path = opt(None, "the folder to write")
    result: Path = opt(None, "folder of the metrics of this model, JSON files, for the card; without it, none")
    push: str = opt(None, "also upload the folder to this model of the hub, user/model", metavar="NAME")


def main(argv=None):
    config = parse_flags(__doc__, argv, ShareConfig)
    from reporting.sharing import push_model, share_model
    from utils.locks import lock_folders, lockable

    if config.to is None:
        raise InputError("--to is missing: give the folder to write")
    if config.result and not config.result.is_dir():
        raise InputError(f"--result {config.result} is not a folder")
    with lock_folders(config.to, *lockable(config.folder)):  # all files are of one state
        files = share_model(config.folder, config.to, config.result)
    print(f"wrote {config.to}: {', '.join(files)}")
    if config.push:
        print(f"uploaded to {push_model(config.to, config.push, files)}")


if __name__ == "__main__":
    run(main)
