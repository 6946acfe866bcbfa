"""The table of SSL front ends: what the published models cost, counted from their configurations.

    python -m docs.front_end_sizes

Nothing is downloaded, and no weights are made: only shapes pass through the models (models/front_end_costs.py).
"""

import argparse

from models import FRONT_ENDS, resolve_class
from models.front_end_costs import count_costs
from utils.console import markdown

BASE = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
LARGE = {"num_hidden_layers": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
EXTRA = {"num_hidden_layers": 48, "hidden_size": 1280, "intermediate_size": 5120, "num_attention_heads": 16}
TWO_BILLION = EXTRA | {"hidden_size": 1920, "intermediate_size": 7680}
STABLE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
# name on the hub -> (family, options of its configuration that differ from transformers' defaults)
PUBLISHED = {
    "facebook/wav2vec2-base": ("wav2vec2", BASE),
    "facebook/wav2vec2-xls-r-300m, facebook/mms-300m": ("wav2vec2", LARGE | STABLE),
    "facebook/wav2vec2-xls-r-1b, facebook/mms-1b": ("wav2vec2", EXTRA | STABLE),
    "facebook/mms-1b-all, facebook/mms-1b-fl102": ("wav2vec2", EXTRA | STABLE | {"adapter_attn_dim": 16}),
    "facebook/wav2vec2-xls-r-2b": ("wav2vec2", TWO_BILLION | STABLE),
    "facebook/hubert-base-ls960": ("hubert", BASE),
    "facebook/hubert-large-ll60k": ("hubert", LARGE | STABLE),
    "facebook/hubert-xlarge-ll60k": ("hubert", EXTRA | STABLE),
    "microsoft/wavlm-base-plus": ("wavlm", BASE),
    "microsoft/wavlm-large": ("wavlm", LARGE | STABLE),
    "microsoft/unispeech-sat-base-plus": ("unispeech-sat", BASE),
    "microsoft/unispeech-sat-large": ("unispeech-sat", LARGE | STABLE),
    "facebook/data2vec-audio-base": ("data2vec-audio", BASE),
    "facebook/data2vec-audio-large": ("data2vec-audio", LARGE),
    "facebook/w2v-bert-2.0": ("wav2vec2-bert", LARGE),
    "openai/whisper-small": (
        "whisper",
        {"encoder_layers": 12, "d_model": 768, "encoder_ffn_dim": 3072, "encoder_attention_heads": 12},
    ),
    "openai/whisper-large-v3": (
        "whisper",
        {
            **{"encoder_layers": 32, "d_model": 1280, "encoder_ffn_dim": 5120, "encoder_attention_heads": 20},
            "num_mel_bins": 128,
        },
    ),
}


def costs_of(name, layer=None):
    """The Costs of the published model `name` of PUBLISHED, up to `layer`; None: of all of it."""
    family, options = PUBLISHED[name]
    return count_costs(resolve_class(FRONT_ENDS[family]).outline((options, {}), layer=layer))


def size_rows():
    """[(family, names, layers, width, parameters, GMACs up to layer 5, GMACs of all, MB of a cached state)] as text."""
    rows = []
    for name, (family, _) in PUBLISHED.items():
        fifth, whole = costs_of(name, 5), costs_of(name)
        names = ", ".join(f"`{part}`" for part in name.split(", "))
        sizes = f"{whole.layers}", f"{whole.width}", f"{whole.weights / 1e6:.0f} M"
        macs = f"{fifth.macs / 1e9:.1f}", f"{whole.macs / 1e9:.1f}"
        memory = f"{fifth.weights * 4 / 1e6:.0f}", f"{whole.weights * 4 / 1e6:.0f}", f"{whole.cached_bytes / 1e6:.2f}"
        rows.append((f"`{family}`", names, *sizes, *macs, *memory))
    return rows


HEADER = (
    *("`model_type`", "names on the hub", "layers", "width", "parameters", "GMACs to 5", "GMACs, all"),
    *("MB to 5", "MB, all", "MB cached"),
)


def main(argv=None):
    argparse.ArgumentParser(description=__doc__.partition("\n")[0]).parse_args(argv)
    print(markdown(HEADER, size_rows()))


if __name__ == "__main__":
    main()
