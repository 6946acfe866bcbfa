"""What the channels of a recording are to each other: whether their mean is a fair mix of them."""

import numpy as np

from data.audio import opened

FRAME_SECONDS = 0.1
BLOCK_FRAMES = 300
ACTIVE = 1e-4  # of the power of the loudest frame: a frame with less is a pause
LEADING = 10  # times the power of every other channel: only one side speaks
LEAST_TURNS = 0.15  # of the active frames, for each of two sides
CANCELLED = 3  # times less power than the mean of channels without any relation has


def channel_powers(file):
    """Powers of the frames of an opened file: float64 [frames, channels], and of the mean of its channels [frames]."""
    length = max(1, round(FRAME_SECONDS * file.samplerate))
    channels = []
    mixed = []
    left = float("inf") if file.frames is None else file.frames
    while left > 0 and len(block := file.read(BLOCK_FRAMES * length)):
        left -= len(block)
        starts = np.arange(0, len(block), length)
        channels.append(np.add.reduceat(block.astype(np.float64) ** 2, starts))
        mixed.append(np.add.reduceat(block.mean(axis=1, dtype=np.float64) ** 2, starts))
    return np.concatenate(channels), np.concatenate(mixed)


def describe_channels(path):
    """What a user of the mean of the channels should know of the file `path`, in words; "" where it is a fair mix.

    Raises InputError as opened() does.
    """
    with opened(path) as file:
        if file.channels == 1:
            return ""
        powers, mixed = channel_powers(file)
    total = powers.sum(axis=0)
    if not total.any():
        return ""
    # The mean of n channels without any relation has 1/n of their mean power.
    if CANCELLED * mixed.sum() < total.mean() / len(total):
        decibel = 10 * np.log10(total.mean() / max(mixed.sum(), 1e-12 * total.mean()))
        return f"the channels cancel each other: their mean is {decibel:.0f} dB quieter. Use --channel each"
    second, first = np.sort(powers, axis=1)[:, -2:].T
    active = first > ACTIVE * first.max()
    speaking = powers.argmax(axis=1)[active & (first > LEADING * second)]
    turns = np.bincount(speaking, minlength=len(total)) / active.sum()
    if (turns >= LEAST_TURNS).sum() >= 2:
        return "the channels take turns, as the two sides of a call do. --channel each judges each of them"
    return ""
