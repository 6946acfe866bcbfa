"""Write a trained model as an ONNX file, which runs without torch and without this project.

    python export_model.py pretrained/real-codecs --to model.onnx
    python export_model.py models/w2v --to w2v.onnx
    python export_model.py models/m1 --to m1.onnx    # of main_train_taxonomy.py

The file takes waves [batch, 64600], float32 at 16 kHz, and gives probabilities, embeddings and logits. A model of the
first system must be calibrated: the probabilities are at its temperature. A W2V2AASIST of the taxonomy gives
probabilities and logits of each task; a SASTNet is refused. An SSL front end is part of the file. Its metadata holds
the class names, sample rate, crop, temperature, limits and thresholds. docs/export.md has a program that uses it.

Before the file gets its name, onnxruntime must give what torch gives, to 1e-4. The libraries that this needs are in
requirements-export.txt.
"""

from dataclasses import dataclass
from pathlib import Path

from config import Network
from utils.errors import InputError, run
from utils.flags import Flags, opt, parse_flags


@dataclass(frozen=True)
class ExportConfig(Flags):
    """The model and the file."""

    folder: Path = opt(None, "trained model: its folder, or its name in the hub", positional=True, hub=True, type=Path)
    to: Path = opt(None, "the ONNX file to write", writes="onnx")
    SSL_path: str = opt(Network.SSL_path, "XLS-R of a W2VAASIST; read only when the XLS-R used in training has moved")


def main(argv=None):
    config = parse_flags(__doc__, argv, ExportConfig)
    from prediction.onnx_export import TOLERANCE, check_export_installed, export_model, exported
    from utils.locks import lock_folders, lockable

    if config.to is None:
        raise InputError("--to is missing: give the file to write, such as --to model.onnx")
    check_export_installed()
    with lock_folders(*lockable(config.folder)):  # all of its files are of one state
        model, metadata = exported(config.folder, config.SSL_path)
    differences = export_model(model, metadata, config.to)
    same = (differences <= TOLERANCE).sum()
    print(f"onnxruntime and torch: {same} of {len(differences)} test clips differ by at most {TOLERANCE:g}")
    print(f"wrote {config.to}, {config.to.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run(main)
