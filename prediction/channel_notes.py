"""What the channels of a recording are to each other: whether their mean is a fair mix of them."""

import numpy as np

FRAME_SECONDS = 0.1
ACTIVE = 1e-4  # of the power of the loudest frame: a frame with less is a pause
LEADING = 10  # times the power of every other channel: only one side speaks
LEAST_TURNS = 0.15  # of the active frames, for each of two sides
CANCELLED = 3  # times less power than the mean of channels without any relation has


class ChannelMeter:
    """Powers of the frames of an opened file with several channels, and of their mean: add() takes its blocks."""

    def __init__(self, file):
        self.length = max(1, round(FRAME_SECONDS * file.samplerate))
        self.rest = np.zeros((0, file.channels), np.float32)  # the begin of a frame
        self.powers = []  # float64 [frames, channels] of each block
        self.mixed = []  # float64 [frames]

    def add(self, block):
        """Measure the next `block`, float32 [samples, channels]."""
        block = np.concatenate((self.rest, block))
        whole = len(block) - len(block) % self.length
        self.rest = block[whole:].copy()
        self._measure(block[:whole])

    def _measure(self, block):
        if len(block):
            starts = np.arange(0, len(block), self.length)
            self.powers.append(np.add.reduceat(block.astype(np.float64) ** 2, starts))
            self.mixed.append(np.add.reduceat(block.mean(axis=1, dtype=np.float64) ** 2, starts))

    def describe(self):
        """What a user of the mean of the channels should know, in words, at the end of the file; "" for a fair mix."""
        self._measure(self.rest)
        if not self.powers:
            return ""
        return describe_powers(np.concatenate(self.powers), np.concatenate(self.mixed))


def describe_powers(powers, mixed):
    """ChannelMeter.describe() of the powers of all frames [frames, channels], and of the mean of the channels."""
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
