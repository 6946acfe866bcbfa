"""Audio files that were joined to one, such as chained Ogg: they are read one after the other."""

from contextlib import ExitStack, contextmanager

import numpy as np

from data.containers import CONVERT
from utils.errors import InputError


class JoinedAudio:
    """The parts of an audio file as one. Each of `openers` is a function without arguments -> context manager."""

    frames = None  # a part says its own when it is opened

    def __init__(self, path, openers, stack):
        self.path = path
        self.openers = iter(openers)
        self.stack = stack
        self.number = 1
        self.part = stack.enter_context(next(self.openers)())
        self.left = self.part.frames
        self.samplerate = self.part.samplerate
        self.channels = self.part.channels
        self.compression = getattr(self.part, "compression", "")
        self.note = ""

    def read(self, frames):
        """The next `frames`, float32 [frames, channels]; fewer at the end.

        Raises InputError for a part that is cut short, or that has another sample rate or number of channels.
        """
        blocks = [np.zeros((0, self.channels), np.float32)]
        missing = frames
        while missing and self.part:
            block = self.part.read(missing)
            blocks.append(block)
            missing -= len(block)
            if self.left is not None:
                self.left -= len(block)
            if missing:
                self._go_on()
        return np.concatenate(blocks)

    def _go_on(self):
        """Open the next part; self.part is None after the last one."""
        if self.left:
            raise InputError(f"{self.path} is cut short: {self.left} frames of its part {self.number} are missing")
        self.note = getattr(self.part, "note", "") or self.note
        self.stack.close()
        opener = next(self.openers, None)
        self.part = self.stack.enter_context(opener()) if opener else None
        if self.part:
            self.number += 1
            self.left = self.part.frames
            here = self.part.samplerate, self.part.channels
            if here != (self.samplerate, self.channels):
                raise InputError(
                    f"{self.path} has {self.samplerate} samples a second and channels: {self.channels}, but its joined "
                    f"part {self.number} has {here[0]} and {here[1]}. Convert it: {CONVERT}"
                )


@contextmanager
def open_joined(path, openers):
    """The parts of the file `path` as a JoinedAudio; see there for `openers`."""
    with ExitStack() as stack:
        yield JoinedAudio(path, openers, stack)
