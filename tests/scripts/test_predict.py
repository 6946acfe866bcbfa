"""predict.py: any file to a verdict, on the terminal and in files."""

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
from data.audio import fit_length, load_wave
from data.taxonomy import describe_codec
from prediction.tracer import Tracer
from prediction.verdict import SILENCE, UNKNOWN, UNSURE
from utils.errors import InputError


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
    assert files["short.wav"]["sample_rate"] == 8000
    for row in files.values():
        narrow = "; the file has 8000 samples a second, so it holds nothing above 4 kHz to look at"
        assert row["reason"].endswith(narrow) == (row["sample_rate"] == 8000)
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
    from config import Config
    from evaluation import calibration
    from models.building import load_model
    from ood_detectors import Outputs

    report, _ = traced(calibrated, tmp_path, clips / "short.wav")
    [row] = report["files"]
    made = calibration.read_calibration(calibrated / "model")
    model = load_model(calibrated / "model", Config())
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
    assert (
        f"error: {loud}: the output of the model is not a finite number. Check the level of this recording\n" in shown
    )
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
    assert lines[0].split()[:2] == ["file", "verdict"] and lines[15:17] == ["", "verdict        files     %"]
    assert lines[-2].startswith("14 files in 0:") and lines[-1] == f"wrote {tmp_path / 'out.csv'}"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert len(rows) == 14 and {row["detector"] for row in rows} == {"msp"}
    assert all(sum(float(row[f"p({name})"]) for name in ("real", "mimi")) <= 1 for row in rows)


@pytest.mark.parametrize("flag", ["--list", "-l"])
def test_names_from_standard_input(flag, calibrated, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{clips / 'short.wav'}\n\n{clips / 'short.wav'}\n"))
    report, _ = traced(calibrated, tmp_path, flag, "-")
    assert [row["file"] for row in report["files"]] == [str(clips / "short.wav")]


def test_names_from_a_file(calibrated, clips, tmp_path):
    names = tmp_path / "names.txt"
    names.write_bytes(f"\ufeff{clips / 'short.wav'}\r\n{clips / 'sub'}\r\n".encode())
    report, _ = traced(calibrated, tmp_path, "--list", names, clips / "long.flac")
    shown = [row["file"] for row in report["files"]]
    assert shown == [str(clips / name) for name in ("long.flac", "short.wav", "sub/silent.WAV")]
    with pytest.raises(InputError, match=r"--list .*nowhere\.txt cannot be read: No such file"):
        traced(calibrated, tmp_path, "--list", tmp_path / "nowhere.txt")


def on_stdin(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.parametrize("name", ["short.wav", "a b's $x$.ogg"])
def test_audio_from_standard_input(name, calibrated, clips, tmp_path, monkeypatch):
    expected, _ = traced(calibrated, tmp_path, clips / name)
    on_stdin(monkeypatch, (clips / name).read_bytes())
    report, status = traced(calibrated, tmp_path, "-", "--plot", tmp_path / "plots")
    assert status == 0 and [row.pop("file") for row in report["files"]] == ["standard input"]
    assert report["files"] == [{name: value for name, value in expected["files"][0].items() if name != "file"}]
    assert (tmp_path / "plots" / "standard input.png").exists()


def test_what_is_wrong_with_standard_input_is_named(calibrated, clips, tmp_path, monkeypatch, capsys):
    on_stdin(monkeypatch, (clips / "short.wav").read_bytes()[:9000])
    report, status = traced(calibrated, tmp_path, "-", clips / "long.flac")
    assert status == 1 and report["failed"][0]["file"] == "standard input"
    assert report["failed"][0]["error"].startswith("standard input is cut short: ")
    on_stdin(monkeypatch, b"")
    with pytest.raises(InputError, match="standard input is empty"):
        traced(calibrated, tmp_path, "-")
    for names in (f"{clips / 'short.wav'}\n{clips / 'long.flac'}\n", f"\n{clips}"):
        on_stdin(monkeypatch, names.encode())
        with pytest.raises(InputError, match=r"standard input holds names of files, .*: use --list -"):
            traced(calibrated, tmp_path, "-")
    with pytest.raises(InputError, match="- and --list - both read standard input"):
        traced(calibrated, tmp_path, "-", "--list", "-")
    with pytest.raises(InputError, match="there is no file: give files"):
        traced(calibrated, tmp_path)


def test_files_that_a_folder_passes_over_are_counted(calibrated, clips, tmp_path, capsys):
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.wav").write_bytes((clips / "short.wav").read_bytes())
    for name in ("notes.txt", "more.TXT", "README", "._a.wav"):
        (folder / name).write_text("no audio")
    traced(calibrated, tmp_path, folder)
    lines = capsys.readouterr().err.splitlines()
    said = "Passed over 4 files, whose names are not those of audio: .txt (2), ._* (1), no extension (1)"
    assert [line for line in lines if "Passed over" in line] == [said]
    (folder / "a.wav").unlink()
    with pytest.raises(InputError, match=r"there is no audio file \(\.wav, .*\. Passed over 4 files"):
        traced(calibrated, tmp_path, folder)


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


def test_a_taxonomy_model_adds_vq_aux_and_dec(calibrated, clips, tmp_path, capsys):
    from models.taxonomy import W2v2Aasist
    from models.xlsr import XlsrFrontEnd

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
    assert "(heard, not calibrated)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "verdict, words",
    [
        ("mimi", "Mimi: VQ MVQ, AUX SEM, DEC TIME (from the table of codecs, not heard); used by Hibiki, Moshi"),
        ("opus", "Opus: a classical codec, not a neural one (from the table of codecs, not heard)"),
        ("larch", ""),
    ],
)
def test_a_named_codec_is_described_from_the_table(calibrated, clips, tmp_path, capsys, monkeypatch, verdict, words):
    monkeypatch.setattr(Tracer, "_decide", lambda *_: (verdict, "the test says so"))
    report, _ = traced(calibrated, tmp_path, clips / "short.wav", "--csv", tmp_path / "out.csv")
    assert report["files"][0]["codec"] == describe_codec(verdict)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("  codec ")] == ([f"  codec          {words}"] if words else [])
    [row] = csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text()))
    assert row["codec"] == words and row["error"] == ""


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
    with pytest.raises(InputError, match=r"there is no audio file \(\.wav, \.flac"):
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
