"""Readers on damaged files: a result, or an InputError that names the file; never another exception."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import soundfile
import torch
from helpers.encoding import encode, speech_like
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import Config
from data.audio import load_wave
from data.conditions import ITW, LA19
from data.protocols import asvspoof, in_the_wild, label_file
from data.taxonomy_protocols import read_list
from engine.feature_files import read_features, write_features
from engine.score_files import read_class_scores
from engine.taxonomy_score_files import read_task_scores
from models.weights import read_checkpoint
from utils.errors import InputError

pytestmark = pytest.mark.slow

EXAMPLES = settings(
    max_examples=500, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def audio(kind):
    """The bytes of a second of noise in a file format."""
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000, format=kind)
    return file.getvalue()


def encoded(suffix, codec, rate=16_000, **more):
    """The bytes of a second of sound in a container of FFmpeg."""
    with TemporaryDirectory() as folder:
        return encode(Path(folder) / f"a.{suffix}", codec, speech_like(rate, rate), rate, **more).read_bytes()


def checkpoint():
    file = io.BytesIO()
    torch.save({"a.weight": torch.ones(3, 4), "b.bias": torch.zeros(5, dtype=torch.float64)}, file)
    return file.getvalue()


def feature_file(folder):
    path = folder / "features.pt"
    write_features(path, torch.ones(4, 3), torch.ones(4, 2), torch.arange(4), names=list("abcd"))
    return path.read_bytes()


def of_config(reader, field, label=None):
    """A function that reads the protocol file `path` by one of data.protocols' readers."""
    return lambda path: reader(Config(**{field: path}), label)


# kind: bytes of a whole file, and what reads it
READERS = {
    "label": (
        b"a b.wav real 0\nc.wav fake 3\n",
        of_config(label_file("train_wav", "train_label"), "train_label"),
    ),
    "protocol": (
        b"LA_0001 LA_T_1 - - bonafide\nLA_0001 LA_T_2 - A01 spoof\n",
        of_config(asvspoof(*LA19, "bonafide"), LA19[1], 0),
    ),
    "meta": (
        b"file,speaker,label\n0.wav,Alec Guinness,spoof\n1.wav,Ayn Rand,bona-fide\n",
        of_config(in_the_wild(*ITW, "spoof"), ITW[1], 0),
    ),
    "taxonomy list": (
        b"p225 p225_001 - REAL REAL REAL bonafide\np225 p225_001_dac - Trad TIME MVQ spoof\n",
        lambda path: read_list(path, "CoRS", path.parent),
    ),
    "scores": (b"a b.wav 0 0.9\nc.wav 3 0.51\n", lambda path: read_class_scores(path, 7)),
    "taxonomy scores": (
        b"p225_001 0.25\np225_001_dac 0.5\n",
        lambda path: read_task_scores(path, "bin"),
    ),
    "checkpoint": (checkpoint(), read_checkpoint),
    "features": (None, read_features),
    "wav": (audio("WAV"), load_wave),
    "flac": (audio("FLAC"), load_wave),
    "ogg": (audio("OGG"), load_wave),
    "mp3": (audio("MP3"), load_wave),
    "aiff": (audio("AIFF"), load_wave),
    "m4a": (encoded("m4a", "aac"), load_wave),
    "webm": (encoded("webm", "libopus", rate=48_000), load_wave),
    "3gp": (encoded("3gp", "libopencore_amrnb", rate=8_000, bit_rate=12_200), load_wave),
}


@st.composite
def damaged(draw, whole):
    """The bytes `whole` cut short, overwritten or stretched at a few places; or other bytes altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200))
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        # damage of a header, where most of what a reader believes stands, is as likely as that of the rest
        start = draw(st.integers(0, min(len(content), draw(st.sampled_from((64, len(content)))))))
        removed = draw(st.sampled_from((0, 1, 4, len(content))))
        content[start : start + removed] = draw(st.binary(max_size=8) | st.sampled_from(SPECIAL))
    return bytes(content)


SPECIAL = (
    b"\n",
    b" ",
    b"\t",
    b'"',
    b",",
    b"\x00",
    b"\xff\xff\xff\xff",
    b"nan",
    b"-1",
    b"1e999",
    "\u2028\u0661".encode(),
)


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_by_name(kind, tmp_path, tried):
    whole, read = READERS[kind]
    whole = whole or feature_file(tmp_path)
    path = Path(tmp_path, "damaged.file")
    path.write_bytes(whole)
    read(path)  # whole, it is read
    refused = []

    @EXAMPLES
    @given(content=damaged(whole))
    def read_damaged(content):
        path.write_bytes(content)
        tried["files damaged at random, read or refused by name"] += 1
        try:
            result = read(path)
        except InputError as error:
            assert str(path) in str(error), "the message does not name the file"
            refused.append(content)
        else:
            if isinstance(result, np.ndarray):
                assert result.dtype == np.float32 and np.isfinite(result).all()

    read_damaged()
    assert refused
