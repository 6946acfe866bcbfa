"""An input format is one row: a decoder that is registered from outside serves every script."""

import csv
import json
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile

import check_data
import predict
import source_tracing_id_other
from data.audio import load_wave, stream_wave
from data.decoders import DECODERS, Decoder, UnknownFormat, audio_suffixes
from engine.score_files import read_class_scores
from utils.errors import InputError

CONDITION = "C3-1"


class Raw16:
    """Headerless 16-bit mono samples at 16 kHz."""

    samplerate = 16_000
    channels = 1

    def __init__(self, path):
        self.samples = np.fromfile(path, "<i2")
        self.frames = len(self.samples)
        self.start = 0

    def read(self, frames):
        block = self.samples[self.start : self.start + frames]
        self.start += len(block)
        return (block / np.float32(32_768))[:, None]


class DamagedRaw(Exception):
    """An exception of the dummy's own."""


@contextmanager
def open_raw16(path):
    if path.stat().st_size % 2:
        raise DamagedRaw("half a sample is missing")
    yield Raw16(path)


@pytest.fixture
def raw16(monkeypatch):
    monkeypatch.setitem(DECODERS, "raw16", Decoder((".raw16",), open_raw16, errors=(DamagedRaw,)))


@pytest.fixture
def raw_corpus(raw16, corpus, tmp_path):
    """The folder of one condition, as 16-bit WAV and as the new format: (root of WAV, root of raw16)."""
    roots = tmp_path / "wav", tmp_path / "raw16"
    for root in roots:
        (root / CONDITION).mkdir(parents=True)
    for path in sorted((corpus / "ID_diff_config" / CONDITION).iterdir()):
        wave, rate = soundfile.read(path, dtype="int16")
        soundfile.write(roots[0] / CONDITION / path.name, wave, rate, subtype="PCM_16")
        wave.astype("<i2").tofile(roots[1] / CONDITION / f"{path.stem}.raw16")
    return roots


def test_the_waveform_is_that_of_the_same_samples_in_a_wav(raw_corpus):
    wav, raw = (sorted((root / CONDITION).iterdir()) for root in raw_corpus)
    assert len(wav) == len(raw) == 2
    for one, other in zip(wav, raw, strict=True):
        np.testing.assert_array_equal(load_wave(one), load_wave(other))
        np.testing.assert_array_equal(load_wave(one, 900), load_wave(other, 900))
        np.testing.assert_array_equal(np.concatenate(list(stream_wave(other))), load_wave(one))


def test_a_folder_of_the_new_format_is_traced(raw_corpus, trained, tmp_path):
    scores = []
    for root in raw_corpus:
        flags = ["--id_diff_config", root, "--condition", CONDITION, "--result", root / "result"]
        flags += ["--model_folder", trained / "model", "--save_feats", tmp_path, "--num_workers", 0]
        source_tracing_id_other.main([str(flag) for flag in flags])
        scores.append(read_class_scores(root / "result/result_C3-1.txt", 7))
    assert [name.removesuffix(".raw16") + ".wav" for name in scores[1]] == list(scores[0])
    assert list(scores[1].values()) == list(scores[0].values())


def test_files_of_the_new_format_are_predicted(raw_corpus, calibrated, tmp_path):
    verdicts = []
    for root in raw_corpus:
        flags = [root / CONDITION, "--json", tmp_path / "out.json", "--num_workers", 0]
        predict.main([str(flag) for flag in (*flags, "--model_folder", calibrated / "model")])
        verdicts.append(json.loads((tmp_path / "out.json").read_text())["files"])
    assert [{**verdict, "file": ""} for verdict in verdicts[0]] == [{**verdict, "file": ""} for verdict in verdicts[1]]


def test_a_damaged_file_of_the_new_format_is_named(raw_corpus, tmp_path):
    damaged = sorted((raw_corpus[1] / CONDITION).iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{damaged} cannot be decoded as audio: half a sample is missing"):
        load_wave(damaged)
    flags = ["--data_root", raw_corpus[1], "--id_diff_config", raw_corpus[1], "--condition", CONDITION]
    with pytest.raises(SystemExit):
        check_data.main([str(flag) for flag in (*flags, "--check_folder", tmp_path / "check", "--num_workers", 0)])
    with open(tmp_path / "check/findings.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == "undecodable"]
    assert [row["file"] for row in rows] == [str(damaged)]


def test_a_file_goes_to_the_decoder_of_its_suffix_then_to_those_that_look_at_the_content(monkeypatch, tmp_path):
    tried = []

    def refusing(name):
        @contextmanager
        def opener(path):
            tried.append(name)
            raise UnknownFormat(f"not of {name}")
            yield

        return opener

    monkeypatch.setitem(DECODERS, "own", Decoder((".own",), refusing("own")))
    monkeypatch.setitem(DECODERS, "other", Decoder((".other",), refusing("other")))
    monkeypatch.setitem(DECODERS, "looking", Decoder((".look",), refusing("looking"), by_content=True))
    assert audio_suffixes()[-3:] == (".own", ".other", ".look")
    path = tmp_path / "a.OWN"
    path.write_text("this is no audio")
    with pytest.raises(InputError, match=f"{path} cannot be decoded as audio: not of own"):
        load_wave(path)
    assert tried == ["own", "looking"]
    soundfile.write(path, np.full(100, 0.5), 16_000, format="WAV")
    assert len(load_wave(path)) == 100  # libsndfile recognises it
