"""Small XLS-R files for tests: those of tests/fixtures/xlsr, and damaged or changed copies of them."""

import json
import shutil

import torch
from safetensors.torch import load_file, save_file

from helpers import FIXTURES

FOLDER = FIXTURES / "xlsr"
TINY = FOLDER / "tiny_xlsr"  # 8 layers
FAIRSEQ = ["tiny_xlsr_cfg_dict.pt", "tiny_xlsr_cfg_dictconfig.pt", "tiny_xlsr_args_namespace.pt"]  # 4 layers
OLD_NAMES = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}


def old_name(name):
    for new, old in OLD_NAMES.items():
        name = name.replace(new, old)
    return name


def pretraining(folder):
    """Write TINY as a pre-trained model was kept: one pickle, prefixed names, a quantizer, old weight norms."""
    folder.mkdir()
    shutil.copy(TINY / "config.json", folder)
    state = {f"wav2vec2.{old_name(name)}": value for name, value in load_file(TINY / "model.safetensors").items()}
    torch.save(state | {"quantizer.codevectors": torch.zeros(1, 40, 16)}, folder / "pytorch_model.bin")
    return folder


def changed_folder(folder, config=None, state=None):
    """A copy of TINY in `folder` with other configuration entries and tensors; those that are None are left out."""
    shutil.copytree(TINY, folder, dirs_exist_ok=True)
    for path, changes, load, save in (
        (folder / "config.json", config, lambda p: json.loads(p.read_text()), lambda d, p: p.write_text(json.dumps(d))),
        (folder / "model.safetensors", state, load_file, save_file),
    ):
        if changes:
            values = load(path) | changes
            path.unlink()
            save({name: value for name, value in values.items() if value is not None}, path)
    return folder


def fairseq_file(path, **changes):
    """Write a checkpoint like that of the fixture, with other entries, to `path`."""
    checkpoint = torch.load(FOLDER / FAIRSEQ[0], weights_only=True)
    torch.save(checkpoint | changes, path)
    return path


def changed_options(path, **changes):
    """A fairseq checkpoint at `path` with other options; those that are None are left out."""
    model = torch.load(FOLDER / FAIRSEQ[0], weights_only=True)["cfg"]["model"] | changes
    return fairseq_file(path, cfg={"model": {name: value for name, value in model.items() if value is not None}})
