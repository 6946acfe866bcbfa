"""Readers on changed files: a value that keeps the reader's promise, or one line that names the file; nothing else."""

import io
import signal
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
from helpers.encoding import encode, speech_like
from helpers.fuzzed_tensors import TENSOR_KINDS
from helpers.fuzzed_text import TEXT_KINDS, Kind
from helpers.mutations import mutated_bytes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.audio import load_wave
from utils.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch about the types of tensors

KINDS = TEXT_KINDS | TENSOR_KINDS
HANGS_AFTER = 60  # seconds
FILES = 370  # of each of KINDS: 10,000 in all
FILES_OF_KIND = {"checkpoint: state of a run": 100}  # it has the most tensors


def encoded(suffix, codec, rate=16_000, **more):
    """The bytes of a second of sound in a container of FFmpeg."""
    with TemporaryDirectory() as folder:
        return encode(Path(folder) / f"a.{suffix}", codec, speech_like(rate, rate), rate, **more).read_bytes()


def written(kind):
    """The bytes of a second of noise in a format of libsndfile."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000, format=kind)
    return file.getvalue()


AUDIO = {
    **{kind: lambda kind=kind: written(kind) for kind in ("WAV", "FLAC", "OGG", "MP3", "AIFF")},
    "M4A": lambda: encoded("m4a", "aac"),
    "WebM": lambda: encoded("webm", "libopus", rate=48_000),
    "3GP": lambda: encoded("3gp", "libopencore_amrnb", rate=8_000, bit_rate=12_200),
}


@contextmanager
def time_limit(seconds):
    """Raise TimeoutError in a block that hangs, where the system can."""

    def stop(*_):
        raise TimeoutError(f"it hangs: {seconds} seconds have passed")

    if not hasattr(signal, "SIGALRM"):
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_files(kind, examples, tried, what):
    """Try `examples` changed files of a Kind, and count them in `tried`. A failure prints a line that repeats it."""
    refused = []

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(rng=st.randoms(use_true_random=False))
    def try_one(rng):
        content = kind.write(rng, folder)
        tried[what] += 1
        try:
            with time_limit(HANGS_AFTER):
                result = kind.read(folder)
        except InputError as error:
            text = str(error)
            assert str(folder) in text and "\n" not in text and len(text) < 2100, text
            refused.append(text)
        else:
            kind.check(result, content)
        assert not (folder / "canary").exists(), "code in the file was run"

    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        folder = Path(made)
        try_one()
    assert 0 < len(refused) < examples


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_or_refused_by_name(kind, tried):
    try_files(KINDS[kind], 20, tried, "files of changed structure, read or refused by name")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_changed_files_are_read_or_refused_by_name(kind, tried):
    files = FILES_OF_KIND.get(kind, FILES)
    try_files(KINDS[kind], files, tried, "files of changed structure, read or refused by name")


@pytest.mark.slow
@pytest.mark.parametrize("name", AUDIO)
def test_a_damaged_audio_file_is_read_or_refused_by_name(name, tried):
    whole = AUDIO[name]()

    def write(rng, folder):
        (folder / "damaged.file").write_bytes(mutated_bytes(rng, whole))

    def check(wave, _):
        assert wave.dtype == np.float32 and np.isfinite(wave).all()

    kind = Kind(write, lambda folder: load_wave(folder / "damaged.file"), check)
    try_files(kind, 500, tried, "audio files damaged at random, read or refused by name")
