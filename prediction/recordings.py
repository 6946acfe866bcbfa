"""What predict.py reads: files, folders, lists of names, and audio on standard input."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from data.audio import opened, wave_blocks
from data.decoders import BESIDE, audio_suffixes, only_audio
from prediction.channel_notes import ChannelMeter
from prediction.settings import EACH, MIX
from utils.errors import NOT_UTF8, InputError
from utils.reading import files_below

STDIN = "-"
STDIN_NAME = "standard input"  # what results and messages call its audio
FIRST_BYTES = 1 << 16  # of standard input, where names are looked for
MOST_SUFFIXES = 8  # that a message lists


class About(NamedTuple):
    """What a verdict rests on besides the waveform."""

    rate: int  # Hz, of the file
    compression: str = ""  # the name of the coding of its samples; "" where the decoder does not say it
    channel_note: str = ""  # in words, where the mean of its channels is no fair mix
    file_note: str = ""  # in words, where the file has more than what is read, or lacks some of it


class Recording(NamedTuple):
    """One thing to trace: a file, what the user reads as its name, and a channel of it, from 0, or the mean of all."""

    path: Path
    file: str
    channel: int | None = None

    @property
    def name(self):
        """The name of the result."""
        return self.file if self.channel is None else f"{self.file} [channel {self.channel + 1}]"

    @property
    def stem(self):
        """The name of a file made of it, without extension."""
        return Path(self.file).stem + ("" if self.channel is None else f"-channel{self.channel + 1}")

    def stream(self, tell=lambda about: None):
        """Its waveform in blocks, float32 at 16 kHz; then tell(About) is called. So the file is opened once.

        Raises InputError as stream_wave() does.
        """
        with opened(self.path, self.channel) as file:
            meter = ChannelMeter(file) if self.channel is None and file.channels > 1 else None
            file.listener = meter and meter.add
            yield from wave_blocks(file)
            tell(About(file.samplerate, file.compression, meter.describe() if meter else "", file.note))

    def rename_in(self, message):
        """`message`, with the name in place of the path."""
        return str(message).replace(str(self.path), self.name)


def as_recording(item):
    """A Recording or a Waveform as it is; a path becomes a Recording of the same name."""
    return Recording(Path(item), str(item)) if isinstance(item, (str, Path)) else item


def as_recordings(files):
    """The Recordings of `files`: a list of paths or Recordings, or a single path."""
    return [as_recording(file) for file in ([files] if isinstance(files, (str, Path)) else files)]


def split_channels(recordings, channel):
    """`recordings` of the channels that --channel wants: "mix", "each", or a number from 1.

    A recording of one channel, and one that cannot be opened, stays as it is where each is wanted.
    """
    if channel == MIX:
        return recordings
    if channel != EACH:
        return [recording._replace(channel=channel - 1) for recording in recordings]
    split = []
    for recording in recordings:
        count = 1
        with suppress(InputError), opened(recording.path) as audio:
            count = audio.channels
        split += [recording._replace(channel=number) for number in range(count)] if count > 1 else [recording]
    return split


def list_audio_files(names):
    """(files, passed over): the audio files that `names` stand for, as text, each once, and {suffix: other files}.

    A name is a file or a folder, which stands for all audio files below it. A folder that cannot be read is among the
    files, so that it gets a message as they do. Raises InputError when there is no file.
    """
    files = []
    passed = Counter()
    for name in names:
        if not os.path.isdir(name):
            files.append(name)
            continue
        unreadable = []
        below = list(files_below(name, unreadable.append))
        audio = dict.fromkeys(only_audio(below))
        passed.update(
            f"{BESIDE}*" if path.name.startswith(BESIDE) else path.suffix.lower() for path in below if path not in audio
        )
        files += sorted(map(str, [*unreadable, *audio]))
    if not files:
        more = f". {describe_passed(passed)}" if passed else ""
        raise InputError(f"{' '.join(names)}: there is no audio file ({', '.join(audio_suffixes())}){more}")
    return list(dict.fromkeys(files)), passed


def describe_passed(passed):
    """How many files of folders were passed over, {suffix: number}, in words."""
    common = passed.most_common(MOST_SUFFIXES)
    shown = ", ".join(f"{suffix or 'no extension'} ({number})" for suffix, number in common)
    more = ", ..." if len(passed) > len(common) else ""
    total = passed.total()
    return f"Passed over {total} file{'s' * (total != 1)}, whose names are not those of audio: {shown}{more}"


def read_names(source):
    """The names in a text file, one a line, or on standard input where `source` is "-".

    Raises InputError when the file cannot be read.
    """
    if source == STDIN:
        lines = list(sys.stdin)
    else:
        try:
            with open(source, encoding="utf-8-sig", errors=NOT_UTF8) as file:
                lines = list(file)
        except OSError as error:
            raise InputError(f"--list {source} cannot be read: {error.strerror or error}") from None
    return [line.rstrip("\r\n") for line in lines if line.strip()]


def spool_stdin(folder):
    """The audio on standard input as a Recording, in a file in `folder`.

    Raises InputError when there is none, or when standard input holds names of files.
    """
    stream = sys.stdin.buffer
    first = stream.read(FIRST_BYTES)
    if not first:
        raise InputError("standard input is empty: it must hold the bytes of an audio file")
    line = first.lstrip().partition(b"\n")[0].strip()
    if line and b"\0" not in line and len(line) < 4096 and Path(line.decode(errors=NOT_UTF8)).exists():
        raise InputError("standard input holds names of files, and - means the audio itself: use --list -")
    path = Path(folder) / "recording"
    with open(path, "wb") as file:
        file.write(first)
        shutil.copyfileobj(stream, file)
    return Recording(path, STDIN_NAME)


def collect_recordings(names, source, stack):
    """(Recordings, passed over) of the files, folders and "-" in `names`, and of the names that --list `source` holds.

    Audio on standard input is kept in a temporary folder until `stack`, an ExitStack, is closed. Raises InputError when
    there is nothing to read.
    """
    if STDIN in names and source == STDIN:
        raise InputError("- and --list - both read standard input: give one of them")
    others = [name for name in names if name != STDIN] + (read_names(source) if source else [])
    recordings = []
    passed = Counter()
    if STDIN in names:
        recordings.append(spool_stdin(stack.enter_context(tempfile.TemporaryDirectory(prefix="codectrace-"))))
    if others:
        files, passed = list_audio_files(others)
        recordings += map(as_recording, files)
    if not recordings:
        raise InputError("there is no file: give files, folders, - for audio on standard input, or --list FILE")
    return recordings, passed
