"""What a front end costs: layers, frames, multiplications, weights and cached states, counted before it runs."""

from typing import NamedTuple

import torch
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from data.audio import SAMPLE_RATE, SAMPLES
from models.hugging_face import SSL_REMEDY
from utils.errors import InputError

CACHED_BYTES = 2  # of a value in --cache_features
WEIGHT_BYTES = 4


class Costs(NamedTuple):
    """The costs of a front end, of one clip where it says so."""

    layers: int  # that are computed
    states: int  # hidden states that are used
    frames: int
    width: int
    macs: int  # multiplications and additions of matrix products, convolutions and attention; a clip
    weights: int  # numbers
    cached_bytes: int  # a clip


@torch.no_grad()
def count_costs(front_end, samples=SAMPLES):
    """The Costs of a FrontEnd for clips of so many samples. Nothing is computed: only the shapes pass through it.

    The multiplications are those of the plain model. Fourier transforms, norms and activations, together a few
    per cent, are not counted. Raises InputError where the configuration leaves no frame of such a clip.
    """
    tensors = {**dict(front_end.named_parameters()), **dict(front_end.named_buffers())}
    tensors = {name: tensor.to("meta") for name, tensor in tensors.items()}
    try:
        with FlopCounterMode(display=False) as counter:
            hidden = functional_call(front_end, tensors, torch.empty(1, samples, device="meta"))
    except InputError:
        raise
    except (RuntimeError, ValueError, ArithmeticError) as error:  # torch has many kinds
        reason = " ".join(str(error).split())
        raise InputError(
            f"this {front_end.family} model cannot take a clip of {samples} samples ({reason}): {SSL_REMEDY}"
        ) from None
    *states, frames, width = hidden.shape[1:]
    return Costs(
        layers=len(front_end.transformer_layers()),
        states=states[0] if states else 1,
        frames=frames,
        width=width,
        macs=counter.get_total_flops() // 2,
        weights=sum(tensor.numel() for tensor in front_end.parameters()),
        cached_bytes=CACHED_BYTES * hidden[0].numel(),
    )


def trained_numbers(front_end):
    """How many numbers of a front end are trained."""
    return sum(weight.numel() for weight in front_end.parameters() if weight.requires_grad)


def costs_in_words(front_end, cached=True):
    """One line on what a front end costs, for the user; `cached` says whether its hidden states may be kept."""
    costs = count_costs(front_end)
    used = ", ".join(map(str, front_end.layers))
    which = f"hidden state{'s' * front_end.several} {used} of {front_end.family}" if used else f"{front_end.family}"
    more = f", {costs.cached_bytes / 1e6:.2f} MB of cached states a clip" if cached else ""
    if not front_end.frozen:
        more = f", {trained_numbers(front_end) / 1e6:.3g} M of {costs.weights / 1e6:.3g} M weights are trained"
    return (
        f"front end: {which}, {costs.frames} frames of {costs.width}; {costs.layers} layers are computed,"
        f" {costs.macs / 1e9:.3g} GMACs a clip of {SAMPLES / SAMPLE_RATE:.2f} s,"
        f" {WEIGHT_BYTES * costs.weights / 1e6:.0f} MB of weights{more}"
    )
