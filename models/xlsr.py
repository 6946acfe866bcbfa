"""wav2vec 2.0, among it XLS-R, the SSL front end of the papers of both systems.

Source: Babu et al., Interspeech 2022 (arXiv 2111.09296); wav2vec 2.0: Baevski et al., NeurIPS 2020 (arXiv 2006.11477).
Weights are read from transformers' or fairseq's files; names are those of transformers. MMS is of the same form.
"""

import re
from pathlib import Path

import torch
from transformers import Wav2Vec2Model

from models.fairseq_checkpoint import read_fairseq
from models.random_init import coloured_noise, standardise
from models.transformers_front_end import Opened
from models.wave_front_end import WaveFrontEnd
from utils.errors import InputError

# Random front ends for dry runs: layers, width, width of the feed-forward networks, heads, channels of the convolutions
TINY = "tiny-random"
FULL = "random"
RANDOM = {TINY: (6, 64, 128, 4, [32] * 7), FULL: (24, 1024, 4096, 16, [512] * 7)}
SIZES = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads", "conv_dim")
# XLS-R's form; fairseq's checkpoints are of it too
XLSR_FORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
CONVOLUTIONS = {"conv_kernel": [10, 3, 3, 3, 3, 2, 2], "conv_stride": [5, 2, 2, 2, 2, 2, 2], "conv_bias": True}
# Names of the tensors of a wav2vec 2.0 model
XLSR_NAMES = re.compile(
    r"(feature_extractor|feature_projection|encoder\.(layer_norm|pos_conv_embed))\.|masked_spec_embed$"
    r"|encoder\.layers\.\d+\.(attention\.[kvq]_proj|attention\.out_proj|feed_forward|layer_norm|final_layer_norm)\."
)


class XlsrFrontEnd(WaveFrontEnd):
    """wav2vec 2.0, both forms: XLS-R and MMS, and the base form. 64600 samples -> 201 frames.

    `path` may also be a checkpoint of fairseq's, in XLS-R's form, or a name of RANDOM.
    """

    family = "wav2vec2"
    config_class, model_class = "Wav2Vec2Config", "Wav2Vec2Model"
    prefixes = ("wav2vec2.",)

    @classmethod
    def open(cls, path):
        if isinstance(path, str) and path in RANDOM:
            return Opened(known_structure(path), lambda: random_weights(path)[1], {}, {})
        if not isinstance(path, tuple) and Path(path).is_file():
            structure, state = read_fairseq(Path(path))
            return Opened(cls.complete_structure(structure | XLSR_FORM), lambda: state, {}, {})
        return super().open(path)

    @staticmethod
    def fits(state):
        """Whether the names of `state` are those of a wav2vec 2.0 model."""
        return "encoder.layer_norm.weight" in state and all(XLSR_NAMES.match(name) for name in state)

    @classmethod
    def from_state(cls, state, path, structure=None, **options):
        """As that of other front ends; without `structure`, that of the model in RANDOM of the same width."""
        return cls((structure or structure_of(state, path), state), **options)


def known_structure(name):
    """The structure of the random front end `name`."""
    sizes = dict(zip(SIZES, RANDOM[name], strict=True))
    return XlsrFrontEnd.complete_structure(sizes | CONVOLUTIONS | XLSR_FORM)


def structure_of(state, path):
    """The structure of the XLS-R whose tensors are `state`, from the file `path`.

    The tensors do not show all of it: the rest is that of the model in RANDOM of the same width. Raises InputError
    when there is none.
    """
    width = len(state.get("encoder.layer_norm.weight", ()))
    name = next((name for name, sizes in RANDOM.items() if sizes[1] == width), None)
    if name is None:
        raise InputError(f"{path} holds an XLS-R of width {width}, expected {[sizes[1] for sizes in RANDOM.values()]}")
    layers = {key.split(".")[2] for key in state if key.startswith("encoder.layers.")}
    widths = [len(bias) for key, bias in state.items() if key.endswith("feed_forward.intermediate_dense.bias")]
    return known_structure(name) | {"num_hidden_layers": len(layers), "intermediate_size": min(widths, default=1)}


def random_weights(name):
    """Structure and weights of the random front end that RANDOM names, in XLS-R's form. It has learned nothing.

    It has a seed of its own: it is always the same, and it does not change the state of the global generators.
    """
    structure = known_structure(name)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(688)
        model = Wav2Vec2Model(XlsrFrontEnd.configuration(structure, structure["num_hidden_layers"])).eval()
        if name == TINY:
            standardise(model, coloured_noise())
        return structure, model.state_dict()
