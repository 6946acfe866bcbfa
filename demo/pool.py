"""Codecs by name: a row of the zoo, or `hf:NAME_OR_FOLDER`, a codec of transformers."""

import json
import math

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from data.audio import SAMPLE_RATE
from demo.codec import DemoCodec
from demo.zoo import WEIGHTS, ZOO_BY_NAME
from utils.errors import InputError

HUB = "hf:"
ARCHITECTURES = ("dac", "encodec", "mimi", "xcodec")  # of transformers


def build_codec(row):
    """The untrained codec of a row of the zoo."""
    return DemoCodec(row.vq, row.aux, row.dec, row.hop, row.latent, row.width, **row.quantiser)


def load_codec(name, folder=WEIGHTS):
    """The codec called `name`, ready to use: it has `bit_rate`, `tokens`, `states` and `speak`.

    Raises InputError when the name is unknown, or when its weights are missing or damaged.
    """
    if name.startswith(HUB):
        return Pretrained(name.removeprefix(HUB))
    if name not in ZOO_BY_NAME:
        raise InputError(
            f"{name} is no codec: choose from {', '.join(ZOO_BY_NAME)}, or {HUB}NAME_OR_FOLDER of transformers"
        )
    path = folder / f"{name}.safetensors"
    again = f"run python -m demo.train_codecs --codec {name}"
    if not path.exists():
        raise InputError(f"{path} does not exist: restore it, or {again}")
    codec = build_codec(ZOO_BY_NAME[name]).eval()
    try:
        codec.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} does not hold the weights of {name} ({reason}): {again}") from None
    return codec


def read_card(name, folder=WEIGHTS):
    """The card of a codec of the zoo, a dict: taxonomy, architecture, quality. Empty for a codec of transformers."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


class Pretrained:
    """EnCodec, DAC, Mimi or X-Codec of transformers, with the interface of the zoo's codecs; tokens are its codes."""

    def __init__(self, source):
        from transformers import AutoConfig, AutoModel  # slow to import

        try:
            config = AutoConfig.from_pretrained(source)
            if config.model_type not in ARCHITECTURES:
                known = ", ".join(ARCHITECTURES)
                raise InputError(f"{HUB}{source} is a model of type {config.model_type}, expected one of {known}")
            self.model = AutoModel.from_pretrained(source).eval()
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"{HUB}{source} cannot be loaded ({reason}): give a folder that holds its weights"
            ) from None
        self.config = self.model.config
        # EnCodec at 48 kHz normalises and cuts its input: one chunk of levelled speech needs neither.
        self.config.normalize = False
        self.config.chunk_length_s = None
        rates = getattr(self.config, "target_bandwidths", None)
        self.options = {"bandwidth": max(rates)} if rates else {}
        self.rate = getattr(self.config, "sampling_rate", None) or self.config.sample_rate
        self.channels = getattr(self.config, "audio_channels", 1)

    def encode(self, wave):
        """Codes [batch, books, frames] of `wave` [batch, samples], every codebook in use."""
        from torchaudio.functional import resample  # slow to import

        wave = resample(wave, SAMPLE_RATE, self.rate)
        codes = self.model.encode(wave[:, None].expand(-1, self.channels, -1), **self.options).audio_codes
        return codes[0] if codes.ndim == 4 else codes  # EnCodec puts chunks first

    def tokens(self, wave, setting=1.0):
        codes = self.encode(wave)
        return codes[:, : max(1, round(setting * codes.shape[1]))]

    def states(self, codes):
        return codes[0]

    def speak(self, codes):
        from torchaudio.functional import resample  # slow to import

        if self.config.model_type == "encodec":
            copy = self.model.decode(codes[None], [None]).audio_values
        else:
            copy = self.model.decode(audio_codes=codes).audio_values
        copy = copy.reshape(len(codes), -1, copy.shape[-1]).mean(1)
        return resample(copy, self.rate, SAMPLE_RATE)

    def bit_rate(self, setting=1.0):
        """Bits per second, by the length of the codes of one second of silence."""
        with torch.no_grad():
            books, frames = self.tokens(torch.zeros(1, SAMPLE_RATE), setting).shape[1:]
        return books * frames * math.log2(self.config.codebook_size)
