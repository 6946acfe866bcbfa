"""Link the demo corpus in the layout of CodecFake+, so that the taxonomy system runs on it. No audio is copied.

    python -m demo.make_corpus --data_root demo-corpus
    python -m demo.make_taxonomy --demo_root demo-corpus --data_root demo-taxonomy

CoRS is made of train/, dev/ and eval_id/, which stand for the speakers train, dev and test. CoSG is made of eval_ood/,
whose codecs stand for generators that are not in training, and of real speech of eval_id/. Writes all_data_16k/,
SLMdemos_16k/, metadata/codecs.txt (AUX, DEC and VQ of each demo codec, for --codec_table), the lists of
metadata/evaluation and, as make_taxonomy_lists.py does, those of metadata/training.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

from data.classes import MANIFEST
from utils.errors import InputError, run

LIST_SEED = 1234  # of the taxonomy system
SPEAKERS = {"train": "train", "dev": "dev", "eval_id": "test"}  # folder of the demo corpus -> speaker


def taxonomy_arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--demo_root", type=Path, default=Path("demo-corpus"), help="the demo corpus (default: demo-corpus)")
    add("--data_root", type=Path, default=Path("demo-taxonomy"), help="folder to make (default: demo-taxonomy)")
    return parser.parse_args(argv)


def link_file(source, target):
    """Give the file `source` a second name, `target`; copy it where the disk has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def read_demo_codecs(root):
    """{class: its entry in the demo corpus's manifest} of the codecs. Raises InputError without a taxonomy."""
    path = root / MANIFEST
    try:
        classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} cannot be read: make the corpus first, with python -m demo.make_corpus") from None
    codecs = {int(label): row for label, row in classes.items() if label != "0"}
    for row in codecs.values():
        if not {"AUX", "DEC", "VQ"} <= row.keys():
            raise InputError(f"{path} does not give AUX, DEC and VQ of {row.get('name')}: use the demo's own codecs")
    return codecs


def make_cors(root, target, codecs):
    """Link all speech under its CoRS names, and return the lines of CoRS_ALL.txt."""
    lines = []
    for folder, speaker in SPEAKERS.items():
        for path in sorted((root / folder).glob("*_*.wav")):
            number, _, label = path.stem.partition("_")
            name = f"{speaker}_{number}" + (f"_{codecs[int(label)]['name']}" if label != "0" else "")
            link_file(path, target / "all_data_16k" / f"{name}.wav")
            if speaker == "test":
                lines.append(f"{speaker} {name} - - {'spoof' if label != '0' else 'bonafide'}\n")
    return lines


def make_cosg(root, target, codecs):
    """Link the speech of unseen codecs, and real speech shared out among them, as CoSG: the lines of CoSG_ALL.txt."""
    spoofs = sorted((root / "eval_ood").glob("*_*.wav"))
    systems = sorted({codecs[int(path.stem.partition("_")[2])]["name"].upper() for path in spoofs})
    rows = [(codecs[int(path.stem.partition("_")[2])]["name"].upper(), path, "spoof") for path in spoofs]
    reals = sorted((root / "eval_id").glob("*_0.wav"))
    rows += [(systems[place % len(systems)], path, "bonafide") for place, path in enumerate(reals)]
    for system, path, _ in rows:
        link_file(path, target / "SLMdemos_16k" / system / path.name)
    return [f"{system} {path.stem} - - {key}\n" for system, path, key in rows]


def main(argv=None):
    arguments = taxonomy_arguments(argv)
    from data.taxonomy import read_codecs
    from data.taxonomy_lists import write_lists
    from utils.files import write_text

    root = arguments.demo_root
    target = arguments.data_root
    codecs = read_demo_codecs(root)
    metadata = target / "metadata"
    table = [
        f"{name} {row['AUX']} {row['DEC']} {row['VQ']}\n"
        for row in codecs.values()
        for name in (row["name"], row["name"].upper())
    ]
    write_text(metadata / "codecs.txt", "".join(table))
    write_text(metadata / "evaluation/CoRS_ALL.txt", "".join(make_cors(root, target, codecs)))
    write_text(metadata / "evaluation/CoSG_ALL.txt", "".join(make_cosg(root, target, codecs)))
    write_lists(
        target / "all_data_16k",
        metadata / "training",
        read_codecs(metadata / "codecs.txt"),
        dev_speakers=["dev"],
        test_speakers=["test"],
        spoofs=3,
        seed=LIST_SEED,
    )


if __name__ == "__main__":
    run(main)
