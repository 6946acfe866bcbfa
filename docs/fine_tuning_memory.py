"""The table of memory that --finetune needs, counted from a configuration; docs/training.md says what is counted.

    python -m docs.fine_tuning_memory

Nothing is downloaded, and no weights are made: only shapes pass through the front end, forwards.
"""

import argparse

import torch
from torch.autograd.graph import saved_tensors_hooks

from config import Config
from data.audio import SAMPLES
from docs.front_end_sizes import PUBLISHED
from models import FRONT_ENDS, resolve_class
from models.fine_tuning import fine_tune
from models.front_end_costs import WEIGHT_BYTES, trained_numbers
from utils.console import markdown

MODEL = "facebook/wav2vec2-xls-r-300m, facebook/mms-300m"
OPTIMIZER_BYTES = 12  # of a trained number in float32: its gradient, and the two moments of Adam
BATCH = 24


def kept_bytes(front_end):
    """Bytes of what `front_end`, on the device meta, keeps of a clip for the backward pass, weights not included."""
    weights = {id(tensor) for tensor in (*front_end.parameters(), *front_end.buffers())}
    kept = {}

    def keep(tensor):
        if id(tensor) not in weights and id(tensor._base) not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = front_end.train()(torch.empty(1, SAMPLES, device=next(front_end.parameters()).device))
    return sum(size for size, _ in kept.values()) + hidden.numel() * hidden.element_size()


def memory_rows():
    """The rows under HEADER, as text; of two figures, the second one is that with gradient checkpointing."""
    family, options = PUBLISHED[MODEL]
    rows = []
    for layer in (5, 24):
        for choice in ("none", "last:1", "last:4", "lora", "all"):
            kept = []
            for checkpointing in (False, True) if choice != "none" else (False,):
                config = Config(SSL_path=MODEL, finetune=choice, gradient_checkpointing=checkpointing)
                its_class = resolve_class(FRONT_ENDS[family])
                front_end = its_class.outline((options, {}), layer=layer, frozen=choice != "all")
                fine_tune(front_end, config)
                kept.append(kept_bytes(front_end) / 1e6)
            weights = WEIGHT_BYTES * sum(weight.numel() for weight in front_end.parameters()) / 1e6
            trained = trained_numbers(front_end)
            optimizer = OPTIMIZER_BYTES * trained / 1e6
            totals = [(weights + optimizer + BATCH * some) / 1e3 for some in kept]
            cells = f"`{choice}`", str(layer), f"{trained / 1e6:.3g} M", f"{weights:.0f}", f"{optimizer:.0f}"
            figures = " / ".join(f"{some:.0f}" for some in kept), " / ".join(f"{some:.1f}" for some in totals)
            rows.append((*cells, *figures))
    return rows


HEADER = (
    "`--finetune`",
    "up to layer",
    "trained",
    "MB of weights",
    "MB of the optimizer",
    "MB a clip",
    f"GB, {BATCH} clips",
)


def main(argv=None):
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args(argv)
    print(markdown(HEADER, memory_rows()))


if __name__ == "__main__":
    main()
