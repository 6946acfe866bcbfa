"""--channel: the mean, each channel, or one of them; and what is said when the mean is no fair mix."""

import csv
import json

import numpy as np
import pytest
import soundfile
from helpers import page_server

import predict
from app import AppConfig
from data.audio import load_wave, stream_wave
from prediction.recordings import Recording, split_channels
from utils.errors import InputError

RATE = 16_000


def channel_note(path):
    """What is said of the mean of the channels of a file, once it was read."""
    told = []
    list(Recording(path, "name").stream(told.append))
    return told[0].channel_note


def noise(seed, seconds=6):
    return 0.1 * np.random.default_rng(seed).standard_normal(seconds * RATE)


def write(path, *channels, rate=RATE):
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
    return path


@pytest.fixture
def call(tmp_path):
    """Two sides that take turns, of a second each."""
    turn = np.arange(6 * RATE) // RATE % 2
    return write(tmp_path / "call.wav", noise(1) * turn, noise(2) * (1 - turn))


def trace(calibrated, tmp_path, *arguments):
    """What predict.py writes with --json, and its exit status."""
    flags = [*arguments, "--model_folder", calibrated / "model", "--num_workers", 0, "--json", tmp_path / "out.json"]
    status = 0
    try:
        predict.main(list(map(str, flags)))
    except SystemExit as ended:
        status = ended.code
    return json.loads((tmp_path / "out.json").read_text()), status


def test_a_channel_is_that_of_the_file(call):
    both = soundfile.read(call, dtype="float32")[0]
    for number in (0, 1):
        np.testing.assert_array_equal(np.concatenate(list(stream_wave(call, channel=number))), both[:, number])
    np.testing.assert_array_equal(load_wave(call), both.sum(axis=1) / 2)
    with pytest.raises(InputError, match=r"call\.wav has no channel 3: it has 2 in all"):
        list(stream_wave(call, channel=2))


def test_each_channel_gets_the_verdict_of_a_file_of_its_own(calibrated, call, tmp_path):
    both = soundfile.read(call, dtype="float32")[0]
    alone = [write(tmp_path / f"side{number}.wav", both[:, number]) for number in (0, 1)]
    expected, _ = trace(calibrated, tmp_path, *alone)
    flags = "--channel", "each", "--csv", tmp_path / "out.csv", "--plot", tmp_path / "plots"
    report, status = trace(calibrated, tmp_path, call, alone[0], *flags)
    assert status == 0
    names = [f"{call} [channel 1]", f"{call} [channel 2]", str(alone[0])]
    assert [row["file"] for row in report["files"]] == names
    assert [row["channel"] for row in report["files"]] == [1, 2, None]
    for row, own in zip(report["files"], expected["files"], strict=False):
        assert {**row, "file": "", "channel": 0} == {**own, "file": "", "channel": 0}
    with open(tmp_path / "out.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == names
    plots = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert plots == ["call-channel1.png", "call-channel2.png", "side0.png"]


def test_one_channel_is_traced(calibrated, call, tmp_path):
    each, _ = trace(calibrated, tmp_path, call, "--channel", "each")
    report, _ = trace(calibrated, tmp_path, call, "--channel", "2")
    [one] = report["files"]
    assert one["file"] == each["files"][1]["file"] and one["channel"] == 2
    # Another size of the batch rounds otherwise.
    assert one["probabilities"] == pytest.approx(each["files"][1]["probabilities"], abs=1e-5)
    report, status = trace(calibrated, tmp_path, call, "--channel", "3")
    assert status == 2 and report["files"] == []
    assert report["failed"] == [
        {"file": f"{call} [channel 3]", "error": f"{call} [channel 3] has no channel 3: it has 2 in all"}
    ]


@pytest.mark.parametrize("value", ["0", "-1", "left", "1.5", ""])
def test_other_values_are_refused(value, calibrated, call, tmp_path):
    with pytest.raises(SystemExit):
        predict.main([str(call), f"--channel={value}"])


def test_a_file_that_cannot_be_opened_stays_one(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    recording = Recording(tmp_path / "bad.wav", "bad.wav")
    assert split_channels([recording], "each") == [recording]


def test_the_mean_of_channels_in_antiphase_is_no_silent_loss(calibrated, tmp_path):
    path = write(tmp_path / "anti.wav", noise(1), -0.99 * noise(1))
    report, _ = trace(calibrated, tmp_path, path)
    assert (
        "the channels cancel each other: their mean is 46 dB quieter. Use --channel each"
        in report["files"][0]["reason"]
    )
    exact = write(tmp_path / "exact.wav", noise(1), -noise(1))
    assert channel_note(exact).startswith("the channels cancel each other: their mean is 120 dB quieter")


def test_a_call_is_named_as_such(calibrated, call, tmp_path):
    note = "the channels take turns, as the two sides of a call do. --channel each judges each of them"
    report, _ = trace(calibrated, tmp_path, call)
    assert report["files"][0]["reason"].endswith(f"; {note}") and report["files"][0]["channel_note"] == note
    report, _ = trace(calibrated, tmp_path, call, "--channel", "each")
    assert not any("turns" in row["reason"] for row in report["files"])


def test_a_table_of_many_files_warns_of_channels(calibrated, call, tmp_path, capsys):
    copies = [write(tmp_path / f"{number}.wav", noise(number)) for number in range(5)]
    trace(calibrated, tmp_path, call, *copies)
    assert f"warning: {call}: the channels take turns" in capsys.readouterr().out


@pytest.mark.parametrize(
    "channels",
    [
        (noise(1),),
        (noise(1), noise(1)),
        (noise(1), noise(2)),
        (noise(1), 0 * noise(1)),
        (noise(1), 0.5 * np.roll(noise(1), 9)),
        (0 * noise(1), 0 * noise(1)),
        tuple(map(noise, range(6))),
    ],
    ids=["mono", "same", "independent", "one silent", "stereo", "silent", "six"],
)
def test_a_fair_mix_gets_no_note(channels, tmp_path):
    assert channel_note(write(tmp_path / "a.wav", *channels)) == ""


def test_the_page_shows_each_channel(calibrated, call):
    settings = {"model_folder": calibrated / "model", "port": 0, "num_workers": 0, "channel": "each"}
    config = AppConfig(**settings)
    with page_server.served(config) as server:
        _, content = page_server.trace(server.server_port, call.read_bytes(), "call.wav")
    shown = [content, *content["more"]]
    assert [row["file"] for row in shown] == ["call.wav [channel 1]", "call.wav [channel 2]"]
    assert all(row["plot"].startswith("data:image/png") for row in shown)
