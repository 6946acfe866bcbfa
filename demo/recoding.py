"""Treatments that pass speech through a neural codec of the demo corpus, for evaluate_laundering.py."""

from functools import lru_cache, partial

import numpy as np
import torch

from data.audio import fit_length
from data.measures import root_mean_square
from demo import pool
from demo.codec import levelled

SHORTEST_INPUT = 2048  # samples that a codec is given; a shorter wave is repeated
RECODING_CODECS = ("larch", "cedar", "willow")  # larch is a known class of the demo corpus


@lru_cache(maxsize=1)
def last_codec(name):
    """The codec called `name`; the codec of the last call stays in memory."""
    return pool.load_codec(name)


def recoded(wave, rng, name):
    """`wave` [n] float32 at 16 kHz after a pass through the codec `name`, at the level of the codec's training.

    The copy has the length and the level of `wave`. Raises InputError for an unknown codec.
    """
    codec = last_codec(name)
    count = len(wave)
    level = root_mean_square(wave)
    whole = fit_length(wave, max(count, SHORTEST_INPUT))
    whole = torch.from_numpy(np.pad(whole, (0, -len(whole) % codec.hop)))[None]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        copy = codec.speak(codec.tokens(levelled(whole)[0]))[0].numpy()
    copy = np.resize(copy, count)
    return (copy * (level / max(root_mean_square(copy), 1e-9))).astype(np.float32)


RECODINGS = {f"codec-{name}": partial(recoded, name=name) for name in RECODING_CODECS}
