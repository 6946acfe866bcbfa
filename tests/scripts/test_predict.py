"""predict.py: any file to a verdict with figures, and what a verdict is made of."""

import csv
import io
import json
import sys

import matplotlib.image
import numpy as np
import pytest
import soundfile
import torch
from helpers import run_script

import predict
from config_predict import TraceConfig
from data.audio import SAMPLE_RATE, SAMPLES, fit_length, load_wave
from prediction import verdict as prediction
from prediction.verdict import SILENCE, UNKNOWN, UNSURE, explain, share_of, source_of, timeline
from prediction.windows import hop_samples, is_audible
from utils.errors import InputError

NAMES = ["real", "larch", "rowan"]


def flags(calibrated, *more):
    return [*map(str, more), "--model_folder", str(calibrated / "model"), "--num_workers", "0"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Files of several lengths, rates and formats, one of them silent, under awkward names."""
    folder, rng = tmp_path_factory.mktemp("clips"), np.random.default_rng(3)
    for name, seconds, rate in (("long.flac", 13.3, 16_000), ("a b's $x$.ogg", 5.1, 44_100), ("short.wav", 1.2, 8000)):
        soundfile.write(folder / name, 0.1 * rng.standard_normal((int(seconds * rate), 2)), rate)
    (folder / "sub").mkdir()
    soundfile.write(folder / "sub" / "silent.WAV", np.zeros(100_000), 16_000)
    return folder


def traced(calibrated, tmp_path, *files):
    """What predict.py writes with --json of `files`, and its exit status."""
    status = 0
    try:
        predict.main(flags(calibrated, *files, "--json", tmp_path / "out.json"))
    except SystemExit as ended:
        status = ended.code
    return json.loads((tmp_path / "out.json").read_text()), status


# ---- rules ----


def test_a_window_is_of_the_most_probable_class_unless_unsure_or_unknown():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    found = source_of(probabilities, np.array([2.0, 1.0, 1.5, 0.9]), NAMES, threshold=1.0, min_probability=0.5)
    assert found.tolist() == ["real", "larch", UNSURE, UNKNOWN]


def windows(sources, scores, hop=2 * SAMPLE_RATE, length=4 * SAMPLE_RATE, last=None):
    """The table of windows `hop` apart whose sources are given, with a probability of 0.9 each."""
    start = hop * np.arange(len(sources))
    if last is not None:
        start[-1] = last
    column = [NAMES.index(source) if source in NAMES else 0 for source in sources]
    probabilities = np.full((len(sources), len(NAMES)), 0.05)
    probabilities[np.arange(len(sources)), column] = 0.9
    audible = np.array([source != SILENCE for source in sources])
    return {
        "start": start,
        "stop": start + length,
        "audible": audible,
        "scores": np.array(scores, float),
        "probabilities": probabilities,
    }


def segments(sources, scores, **layout):
    found = timeline(windows(sources, scores, **layout), np.array(sources, object), NAMES)
    return [(segment["start"], segment["end"], segment["source"]) for segment in found]


def test_the_timeline_merges_equal_neighbours():
    assert segments(["real"] * 4, [1, 2, 3, 4]) == [(0, 10, "real")]


def test_a_splice_in_the_middle_of_a_window_is_found_where_it_is():
    # The third window is half real, half larch and fits neither.
    found = segments(["real", "real", UNKNOWN, "larch", "larch"], [5, 5, 0, 5, 5])
    assert found == [(0, 6, "real"), (6, 12, "larch")]


def test_an_unknown_stretch_is_where_every_window_is_unknown():
    found = segments(["real", UNKNOWN, UNKNOWN, UNKNOWN, "larch"], [5, 1, 1, 1, 5])
    assert found == [(0, 4, "real"), (4, 8, UNKNOWN), (8, 12, "larch")]


def test_silence_is_where_every_window_is_silent():
    found = segments(["real", SILENCE, SILENCE, "real"], [5, 9, 9, 5])
    assert found == [(0, 4, "real"), (4, 6, SILENCE), (6, 10, "real")]


def test_of_two_sources_the_better_fitting_window_counts():
    assert segments(["real", "larch"], [1, 2]) == [(0, 2, "real"), (2, 6, "larch")]
    assert segments(["real", "larch"], [2, 1]) == [(0, 4, "real"), (4, 6, "larch")]


def test_what_no_window_can_resolve_joins_its_neighbour():
    last = 2 * SAMPLE_RATE + 800  # the last window begins 0.05 s after the second
    assert segments(["real", "real", "larch"], [1, 1, 0], last=last) == [(0, 6.05, "real")]
    found = timeline(windows(["rowan", "larch"], [0, 1], hop=1600), np.array(["rowan", "larch"], object), NAMES)
    assert [(s["start"], s["source"]) for s in found] == [(0, "larch")]  # the first tenth of a second too


def test_segments_have_the_probability_of_their_source():
    table = windows(["real", "larch", UNKNOWN], [1, 2, 0])
    found = timeline(table, np.array(["real", "larch", UNKNOWN], object), NAMES)
    assert [segment["probability"] for segment in found] == [pytest.approx(0.9), pytest.approx(0.9), None]


@pytest.mark.parametrize(
    "source,agreement,others,verdict,words",
    [
        ("larch", 0.9, [], "larch", "of the known sources it is most like larch, 70.0%"),
        (
            "real",
            0.9,
            ["larch", UNKNOWN],
            "real",
            "real, 25.0%; the timeline names larch, unknown codec, too",
        ),
        ("larch", 0.5, [], UNSURE, "the windows disagree: 50% of them say larch"),
        ("larch", 0.5, ["real"], UNSURE, "several sources seem to follow one another"),
        (UNSURE, 0.9, ["real", "larch"], UNSURE, "several sources seem to follow one another"),
        (UNSURE, 0.9, ["larch"], UNSURE, "no source is probable enough: larch has 70%, below 50%"),
        (UNKNOWN, 0.9, [], UNKNOWN, "an unknown codec, or a recording unlike those of training"),
        (UNKNOWN, 0.5, [], UNSURE, "the windows disagree"),
        ("willow", 0.9, [], "willow", "within the limit of willow, an enrolled source"),
    ],
)
def test_the_verdict_abstains_rather_than_overstates(source, agreement, others, verdict, words):
    shares = {"real": 0.25, "larch": 0.7, "rowan": 0.05}
    found, reason = explain(source, others, shares, 0.01, 0.9, agreement, TraceConfig())
    assert found == verdict and words in reason


def test_agreement_is_the_share_of_the_verdict_or_of_what_most_windows_say():
    sources = np.array(["real", "larch", "larch", UNKNOWN], object)
    assert share_of("real", sources) == 0.25 and share_of(UNSURE, sources) == 0.5
    assert share_of("real", sources[:0]) == 0


def test_a_window_is_audible_when_half_of_it_is():
    wave = np.zeros(SAMPLES, np.float32)
    assert not is_audible(wave)
    wave[: SAMPLES // 3] = 0.01
    assert not is_audible(wave)
    wave[: SAMPLES // 2 + 1600] = 0.01
    assert is_audible(wave)


def test_windows_leave_no_gap():
    assert hop_samples(None, SAMPLES) == SAMPLES // 2 and hop_samples(1.5, SAMPLES) == 24_000
    with pytest.raises(InputError, match=r"--hop 5 leaves gaps between windows of 4.04 s"):
        hop_samples(5, SAMPLES)


@pytest.mark.parametrize("seconds,text", [(0, "0:00.0"), (75.5, "1:15.5"), (59.96, "1:00.0"), (36_000, "10:00:00.0")])
def test_times_are_shown_as_on_a_clock(seconds, text):
    assert predict.clock(seconds) == text


# ---- files ----


def test_files_of_any_format_and_length_are_traced(calibrated, clips, tmp_path, capsys):
    report, status = traced(calibrated, tmp_path, clips)
    files = {row["file"].rpartition("/")[2]: row for row in report["files"]}
    assert status == 0 and report["failed"] == [] and report["tpr"] == 0.8
    assert sorted(files) == ["a b's $x$.ogg", "long.flac", "short.wav", "silent.WAV"]
    seconds = {"long.flac": 13.3, "a b's $x$.ogg": 5.1, "short.wav": 1.2, "silent.WAV": 6.25}
    assert {name: row["seconds"] for name, row in files.items()} == pytest.approx(seconds, abs=1e-3)
    assert {name: row["windows"] for name, row in files.items()} == {
        **{"long.flac": 6, "a b's $x$.ogg": 2, "short.wav": 1, "silent.WAV": 3}
    }
    for row in files.values():
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert 0 < row["p_value"] <= 1 and 0 <= row["percentile"] <= 100 and 0 <= row["agreement"] <= 1
        ends = [segment["end"] for segment in row["timeline"]]
        assert [segment["start"] for segment in row["timeline"]] == [0, *ends[:-1]] and ends[-1] == row["seconds"]
    silent = files["silent.WAV"]
    assert silent["verdict"] == UNSURE and "half of every window is silent" in silent["reason"]
    assert [segment["source"] for segment in silent["timeline"]] == [SILENCE]
    shown = capsys.readouterr().out
    assert all(f"{row['file']}\n  verdict        {row['verdict']}: {row['reason']}" in shown for row in files.values())


def test_the_figures_are_those_of_the_model(calibrated, clips, tmp_path):
    import models
    from config import Config
    from evaluation import calibration
    from ood_detectors import Outputs

    report, _ = traced(calibrated, tmp_path, clips / "short.wav")
    [row] = report["files"]
    made = calibration.read_calibration(calibrated / "model")
    model = models.load(calibrated / "model", Config())
    with torch.inference_mode():
        features, logits = model(torch.from_numpy(fit_length(load_wave(clips / "short.wav")))[None])
    expected = made.probabilities(logits)[0]
    assert list(row["probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-4)
    score = made.score(row["detector"], Outputs(features, logits, None))
    assert row["score"] == pytest.approx(score[0], abs=1e-4)
    assert row["p_value"] == made.p_value(row["detector"], score)[0]
    assert (row["verdict"] == UNKNOWN) == (score[0] < made.threshold(row["detector"]))


def test_the_same_files_give_the_same_bytes_whatever_their_neighbours(calibrated, clips, tmp_path):
    texts = []
    for number in range(2):
        traced(calibrated, tmp_path / str(number), clips / "long.flac", clips / "short.wav")
        texts.append((tmp_path / str(number) / "out.json").read_bytes())
    assert texts[0] == texts[1]
    alone, _ = traced(calibrated, tmp_path / "alone", clips / "short.wav")
    beside = json.loads(texts[0])["files"][1]
    assert alone["files"][0]["score"] == pytest.approx(beside["score"], abs=1e-5)
    assert alone["files"][0]["verdict"] == beside["verdict"]


def test_a_bad_file_among_others_is_named_and_the_others_are_traced(calibrated, clips, tmp_path, capsys):
    loud, text = tmp_path / "loud.wav", tmp_path / "text.wav"
    soundfile.write(loud, np.full(50_000, 1e25, np.float32), 16_000, subtype="FLOAT")
    text.write_text("no audio")
    bad = [tmp_path / "absent.wav", text, loud]
    report, status = traced(calibrated, tmp_path, bad[0], clips / "short.wav", *bad[1:], clips / "long.flac")
    assert status == 1
    assert [row["file"] for row in report["files"]] == [str(clips / "short.wav"), str(clips / "long.flac")]
    assert [row["file"] for row in report["failed"]] == list(map(str, bad))
    shown = capsys.readouterr().err
    assert f"error: {bad[0]} does not exist\n" in shown and f"error: {text} cannot be decoded as audio" in shown
    assert f"error: {loud} makes no number in the model: is its level extreme?" in shown
    assert traced(calibrated, tmp_path, *bad)[1] == 2


def test_a_broken_link_in_a_folder_is_named(calibrated, clips, tmp_path):
    link = tmp_path / "links/gone.wav"
    link.parent.mkdir()
    link.symlink_to("absent")
    (link.parent / "whole.wav").symlink_to(clips / "short.wav")
    report, status = traced(calibrated, tmp_path, link.parent)
    assert status == 1 and [row["file"] for row in report["files"]] == [str(link.parent / "whole.wav")]
    assert report["failed"] == [{"file": str(link), "error": f"{link} does not exist"}]


def test_a_table_of_many_files_and_a_csv(calibrated, corpus, tmp_path, capsys):
    predict.main(flags(calibrated, corpus / "eval_id", "--csv", tmp_path / "out.csv", "--ood_detector_name", "msp"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["file", "verdict"] and len(lines) == 14 + 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert len(rows) == 14 and {row["detector"] for row in rows} == {"msp"}
    assert all(sum(float(row[f"p({name})"]) for name in ("real", "mimi")) <= 1 for row in rows)


def test_names_from_standard_input(calibrated, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{clips / 'short.wav'}\n\n{clips / 'short.wav'}\n"))
    report, _ = traced(calibrated, tmp_path, "-")
    assert [row["file"] for row in report["files"]] == [str(clips / "short.wav")]


def test_a_picture_of_each_file(calibrated, clips, tmp_path):
    other = tmp_path / "other" / "long.wav"
    other.parent.mkdir()
    soundfile.write(other, np.random.default_rng(0).standard_normal(300) / 10, 16_000)  # 0.02 s
    names = [clips / "long.flac", other, clips / "a b's $x$.ogg", clips / "sub/silent.WAV"]
    predict.main(flags(calibrated, *names, "--plot", tmp_path / "plots"))
    pictures = sorted(path.name for path in (tmp_path / "plots").iterdir())
    assert pictures == ["a b's $x$.png", "long-2.png", "long.png", "silent.png"]
    for name in pictures:
        picture = matplotlib.image.imread(tmp_path / "plots" / name)
        assert picture.shape[:2] == (500, 900) and picture[..., :3].std() > 0.05


def test_the_source_of_every_segment_has_a_look_of_its_own():
    from prediction.plots import styles

    many = prediction.Prediction(
        *("", 1.0, 1, "real", "", {f"codec {n}": 0.0 for n in range(20)}, "knn", 0.0, 0.0, 0.0, 1.0, 1.0),
        timeline=[{"source": "enrolled"}, {"source": UNKNOWN}],
        taxonomy={},
    )
    found = styles(many)
    assert len(set(found.values())) == len(found) == 20 + 1 + 3


def test_a_taxonomy_model_adds_vq_aux_and_dec(calibrated, clips, tmp_path, capsys):
    from models.ssl import XlsrFrontEnd
    from models.taxonomy import W2v2Aasist

    torch.manual_seed(0)
    front_end = XlsrFrontEnd("tiny-random", layer=None, norm="none", frozen=False)
    torch.save(W2v2Aasist(front_end, "M1").state_dict(), tmp_path / "m1.pth")
    report, _ = traced(calibrated, tmp_path, clips / "long.flac", "--taxonomy_model", tmp_path / "m1.pth")
    taxonomy = report["files"][0]["taxonomy"]
    assert {task: list(classes) for task, classes in taxonomy.items()} == {
        "AUX": ["REAL", "Trad", "SEM", "Disent"],
        "DEC": ["REAL", "TIME", "FREQ"],
        "VQ": ["REAL", "MVQ", "SVQ", "SQ"],
    }
    assert all(sum(classes.values()) == pytest.approx(1) for classes in taxonomy.values())
    assert "(not calibrated)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more,message",
    [
        (["--ood_detector_name", "nope"], "detector nope was not calibrated: expected one of msp, "),
        (["--registry", "none.safetensors"], "none.safetensors does not exist: write a registry with enroll.py first"),
        (["--hop", "9"], "--hop 9 leaves gaps"),
        (["--plot", "/dev/null/x"], "cannot be written"),
        (["--csv", "/dev/null/x"], "cannot be written"),
        (["--json", "."], "^. cannot be written: it is a folder$"),
        (["--taxonomy_model", "none.pth"], "none.pth does not exist"),
    ],
)
def test_bad_flags_are_named(calibrated, clips, more, message):
    with pytest.raises(InputError, match=message):
        predict.main(flags(calibrated, clips / "short.wav", *more))


def test_a_model_without_calibration_and_an_empty_folder_end_in_one_line(trained, calibrated, clips, tmp_path):
    finished = run_script("predict.py", clips / "short.wav", "--model_folder", trained / "model")
    assert finished.returncode == 2 and finished.stdout == ""
    missing = trained / "model/calibration.json"
    assert finished.stderr == f"error: {missing} is missing: run calibrate.py on this model first\n"
    with pytest.raises(InputError, match=r"no audio file there \(\.wav, \.flac"):
        predict.main(flags(calibrated, tmp_path))
    assert run_script("predict.py").returncode == 2


@pytest.mark.slow
def test_several_workers_give_the_figures_of_one(calibrated, clips, tmp_path):
    one, _ = traced(calibrated, tmp_path, clips)
    two, _ = traced(calibrated, tmp_path, clips, "--num_workers", "2")
    for a, b in zip(one["files"], two["files"], strict=True):
        assert a["file"] == b["file"] and a["score"] == pytest.approx(b["score"], abs=1e-5)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length_of_a_file(calibrated, tmp_path):
    """Ten times the length, the same memory: what is kept of a window is a hundredth of it."""
    code = (
        "import resource, sys, predict; predict.main(sys.argv[1:]);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for seconds in (60, 600):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(seconds * 16_000), 16_000)
        finished = run_script("-c", code, *flags(calibrated, path, "--batch_size", "4", "--hop", "4"))
        peaks.append(int(finished.stdout.split()[-1]) / 1024)
    assert peaks[1] < peaks[0] + 40  # MiB; the waveform alone has 37 as float32, twice that while it is resampled
