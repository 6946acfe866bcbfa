"""The demo's codecs, one row each: classes 1 to 6 are known in training, 7 to 11 are not."""

from pathlib import Path
from typing import NamedTuple

WEIGHTS = Path(__file__).parent / "weights"

AUX_WORDS = {
    "none": "no auxiliary objective",
    "SEM": "first codebook distilled from smoothed cepstra (12 coefficients; no neural teacher)",
    "Disent": "utterance vector of the latents' deviations over time, apart from the instance-normalised frames",
}
DEC_WORDS = {"TIME": "decoder of samples", "FREQ": "decoder of an STFT"}


class Row(NamedTuple):
    """A codec of the demo."""

    name: str
    label: int  # class
    vq: str  # MVQ: residual, SVQ: single codebook, SQ: scalar
    aux: str  # none, SEM: semantic distillation, Disent: an utterance vector apart
    dec: str  # TIME or FREQ
    hop: int  # samples between frames at 16 kHz
    latent: int  # dimensions of a frame
    quantiser: dict  # its options
    width: int = 128  # channels of the networks
    steps: int = 300  # of training

    def describe(self):
        """The architecture in words."""
        options = ", ".join(f"{key} {value}" for key, value in self.quantiser.items())
        return (
            f"MDCT of {self.hop} samples, {self.width}-channel encoder, {self.latent}-dimensional latents, "
            f"{self.vq} ({options}), {AUX_WORDS[self.aux]}, {DEC_WORDS[self.dec]}"
        )


# fmt: off
ZOO = (
    #   name      class  vq     aux       dec     hop  latent  quantiser
    Row("larch",    1,  "MVQ", "SEM",    "FREQ",  160,  64,  dict(books=8, size=256)),
    Row("rowan",    2,  "SVQ", "none",   "TIME",   80,  48,  dict(books=1, size=2048), 96),
    Row("alder",    3,  "MVQ", "none",   "TIME",  200,  64,  dict(books=6, size=512)),
    Row("hazel",    4,  "SQ",  "none",   "FREQ",  128,  48,  dict(bits=60)),
    Row("maple",    5,  "SVQ", "Disent", "FREQ",   64,  48,  dict(books=1, size=2048), 96),
    Row("birch",    6,  "SQ",  "none",   "TIME",  160,  64,  dict(bits=80)),
    Row("cedar",    7,  "MVQ", "none",   "FREQ",  256,  64,  dict(books=8, size=256)),
    Row("aspen",    8,  "SVQ", "none",   "TIME",   64,  32,  dict(books=1, size=1024), 96),
    Row("juniper",  9,  "SQ",  "none",   "FREQ",  200,  80,  dict(bits=100)),
    Row("willow",  10,  "MVQ", "none",   "TIME",  128,  48,  dict(books=4, size=512)),
    Row("poplar",  11,  "SVQ", "none",   "FREQ",   80,  40,  dict(books=1, size=1024), 96),
)
# fmt: on
ZOO_BY_NAME = {row.name: row for row in ZOO}
ZOO_BY_CLASS = {row.label: row for row in ZOO}
