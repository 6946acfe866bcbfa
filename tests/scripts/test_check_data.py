"""check_data.py: a whole corpus is clean, every kind of damage is reported with the file, and a stopped run goes on."""

import csv
import gzip
import shutil
import zipfile

import numpy as np
import pytest
import soundfile
from helpers import change_quietly, run_script

import check_data
from data import corpus_check
from data.corpus_check import FINDING_KINDS
from data.doctor import archive_error, examine_file
from utils.errors import InputError

RNG = np.random.default_rng(7)


@pytest.fixture
def copy(corpus, tmp_path):
    """A copy of the small corpus, with the manifest of a corpus that nobody published."""
    root = shutil.copytree(corpus, tmp_path / "corpus")
    (root / "manifest.json").write_text('{"classes": {}}')
    return root


def check(root, tmp_path, *flags):
    """(exit status, {kind: rows of findings.csv}) of check_data.py."""
    folder = tmp_path / "check"
    try:
        check_data.main(["--data_root", str(root), "--check_folder", str(folder), "--num_workers", "0", *flags])
        status = 0
    except SystemExit as ended:
        status = ended.code
    with open(folder / "findings.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return status, {kind: [row for row in rows if row["kind"] == kind] for kind in {row["kind"] for row in rows}}


def noise(path, seconds=5.0, rate=16_000, channels=1, gain=0.1):
    soundfile.write(path, gain * RNG.standard_normal((int(seconds * rate), channels)), rate)


def test_whole_corpus_has_no_finding_that_counts(copy, tmp_path, capsys):
    status, found = check(copy, tmp_path)
    assert status == 0 and set(found) == {"short", "rate"}  # clips of half a second, some at 24 kHz
    assert {row["file"] for row in found["rate"]} == {
        str(path) for path in (copy / "ID_diff_source/NCSSD-mimi").iterdir()
    }
    assert "\nfindings that count as wrong: 0, in 89 files; " in capsys.readouterr().out


def test_other_counts_than_published_are_reported(corpus, tmp_path):
    status, found = check(corpus, tmp_path, "--condition", "id", "19LA", "--fast")
    assert status == 1
    assert [row["detail"] for row in found["count"]] == [
        "14 files, published: 92596",
        "2 files, published: 7355",
    ]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_kind_of_damage_is_reported_with_its_file(copy, tmp_path, workers):
    train, dev = copy / "train", copy / "dev"
    names = {path.name: path for path in sorted(train.iterdir())}
    silent, clipped, cut, empty, text, nan, stereo, gone = list(names.values())[:8]
    soundfile.write(silent, np.zeros(80_000), 16_000)
    soundfile.write(clipped, np.sign(RNG.standard_normal(80_000)), 16_000)
    noise(train / "whole.wav")
    soundfile.write(cut, RNG.standard_normal(9000) * 0.1, 16_000, format="WAV")
    cut.write_bytes(cut.read_bytes()[:3000])
    empty.write_bytes(b"")
    text.write_text("no sound")
    soundfile.write(nan, np.full(80_000, np.nan), 16_000, format="WAV", subtype="FLOAT")
    noise(stereo, channels=2)
    gone.unlink()
    twin = sorted(dev.glob("*.wav"))[0]
    wave, rate = soundfile.read(train / "whole.wav", dtype="int16")
    soundfile.write(twin, wave, rate)
    twice = sorted(train.iterdir())[-2]
    soundfile.write(twice, wave, rate, format="FLAC")  # the same samples in another format
    with open(copy / "label/train.txt", "a") as labels:
        labels.write("broken line\nodd.wav fake 99\nwhole.wav fake 1\nwhole.wav fake 2\n")
    shutil.rmtree(copy / "ALM/moshi")
    (copy / "train/._a.wav").write_bytes(b"junk")
    (copy / "part.zip").write_bytes(b"PK\x03\x04 and no end")
    (copy / "eval_id.tar.gz").write_bytes(gzip.compress(b"whole"))

    status, found = check(copy, tmp_path, "--num_workers", workers)
    assert status == 1

    def files(kind):
        return [row["file"] for row in found[kind]]

    assert files("silent") == [str(silent)] and files("clipped") == [str(clipped)]
    assert {row["file"]: row["detail"].split(":")[0] for row in found["undecodable"]} == {
        str(cut): "is cut short",
        str(empty): "is empty (0 bytes)",
        str(text): "cannot be decoded as audio",
        str(nan): "holds samples that are NaN or infinite",
    }
    assert files("channels") == [str(stereo)]
    assert [(row["file"], row["part"]) for row in found["missing"]] == [(str(gone), "train")]
    assert files("surplus") == [str(train / "._a.wav")]
    assert [row["detail"].partition(" ")[2] for row in found["label"]] == [
        "reads 'broken line', expected FILE real|fake CLASS",
        "gives odd.wav the class 99, expected 0 to 6",
        f"names whole.wav again, first named by {copy}/label/train.txt:24: keep one line",
    ]
    assert [row["part"] for row in found["unusable"]] == ["moshi"]
    assert files("archive") == [str(copy / "part.zip")]
    assert {row["part"] for row in found["duplicate"]} == {"train, dev"} and files("copy")
    assert set(found) <= set(FINDING_KINDS)


def test_fast_reads_headers_alone(copy, tmp_path):
    bad = sorted((copy / "train").glob("*.wav"))[0]
    soundfile.write(bad, np.zeros(80_000), 16_000)
    assert "silent" not in check(copy, tmp_path, "--fast")[1]
    assert [row["file"] for row in check(copy, tmp_path)[1]["silent"]] == [str(bad)]


def test_stopped_run_goes_on_and_changed_files_are_read_again(copy, tmp_path, monkeypatch):
    status, found = check(copy, tmp_path)
    log = tmp_path / "check/files.csv"
    whole, read = log.read_bytes(), []

    def counted(path, headers_only):
        read.append(path)
        return examine_file(path, headers_only)

    monkeypatch.setattr(corpus_check, "examine_file", counted)
    lines = whole.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-4]) + lines[-4][:-30])  # killed while it wrote a line
    assert check(copy, tmp_path) == (status, found) and len(read) == 4 and log.read_bytes() == whole
    changed = sorted((copy / "dev").glob("*.wav"))[0]
    soundfile.write(changed, np.zeros(80_000), 16_000)
    read.clear()
    assert [row["file"] for row in check(copy, tmp_path)[1]["silent"]] == [str(changed)] and read == [changed]
    read.clear()
    change_quietly(changed)
    check(copy, tmp_path)
    assert read == [changed]


def test_speakers_and_utterances_of_two_splits(tmp_path):
    root = tmp_path / "corpus"
    for part, names in (("train", ("p225_001", "p226_002")), ("dev", ("mimi_p225_001", "p230_001"))):
        (root / part).mkdir(parents=True)
        (root / "label").mkdir(exist_ok=True)
        for name in names:
            noise(root / part / f"{name}.wav")
        (root / f"label/{part}.txt").write_text("".join(f"{name}.wav real 0\n" for name in names))
    status, found = check(root, tmp_path, "--condition", "train", "dev")
    assert status == 1
    assert [row["file"] for row in found["speaker"]] == ["p225"]
    assert [row["file"] for row in found["utterance"]] == ["p225_001"]


def test_lists_of_codecfake_plus(tmp_path):
    root = tmp_path / "plus"
    for folder in ("all_data_16k", "SLMdemos_16k/VALLE", "metadata/training", "metadata/evaluation"):
        (root / folder).mkdir(parents=True)
    (root / "manifest.json").write_text('{"classes": {}}')
    for name in ("p225_001", "p225_001_bigcodec", "p227_001", "p227_001_bigcodec"):
        noise(root / f"all_data_16k/{name}.flac")
    noise(root / "SLMdemos_16k/VALLE/a.wav")
    train = "p225 p225_001 - REAL REAL REAL bonafide\np225 p225_001_bigcodec - Trad TIME SVQ spoof\n"
    (root / "metadata/training/train_mult_learn.txt").write_text(train + "p225 p225_002 - REAL REAL REAL bonafide\n")
    cors = "p227 p227_001 - - bonafide\np227 p227_001_bigcodec - - spoof\np227 p227_001_nocodec - - spoof\n"
    (root / "metadata/evaluation/CoRS_ALL.txt").write_text(cors + "p225 p225_001 - - bonafide\n")
    (root / "metadata/evaluation/CoSG_ALL.txt").write_text("VALLE a - - spoof\n")
    status, found = check(root, tmp_path, "--system", "taxonomy")
    assert status == 1 and set(found) == {"missing", "label", "duplicate"}
    assert [row["file"] for row in found["missing"]] == [str(root / "all_data_16k/p225_002.wav")]
    assert "nocodec" in found["label"][0]["detail"]
    assert found["duplicate"][0]["part"] == "train, test"


def test_archives(tmp_path):
    whole, cut, split = tmp_path / "a.zip", tmp_path / "b.tar.gz", tmp_path / "c.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("x.wav", bytes(1000))
    assert archive_error(whole, False) == ""
    content = whole.read_bytes()
    end = content.rindex(b"PK\x05\x06")
    split.write_bytes(content[: end + 4] + b"\x02\x00" + content[end + 6 :])
    assert archive_error(split, True) == "it has 3 parts, of which c.z01 is missing"
    whole.write_bytes(content[:200])
    assert archive_error(whole, True) == "its end, which holds the directory of a zip, is missing"
    cut.write_bytes(gzip.compress(RNG.bytes(100_000))[:-500])
    assert archive_error(cut, True) == "" and "end-of-stream" in archive_error(cut, False)


def test_nothing_to_check(tmp_path):
    flags = ["--check_folder", str(tmp_path / "check")]
    with pytest.raises(InputError, match="nowhere is not a folder"):
        check_data.main(["--data_root", str(tmp_path / "nowhere"), *flags])
    with pytest.raises(InputError, match=r"no part that can be checked; the first problem: .*train.txt does not exist"):
        check_data.main(["--data_root", str(tmp_path), *flags])
    assert not (tmp_path / "check").exists()


def test_exit_status_tells(copy, tmp_path):
    flags = ("--check_folder", tmp_path / "check", "--num_workers", "0", "--fast")
    assert run_script("check_data.py", "--data_root", copy, *flags).returncode == 0
    sorted((copy / "dev").iterdir())[0].unlink()
    finished = run_script("check_data.py", "--data_root", copy, *flags)
    assert finished.returncode == 1 and "1 missing" in finished.stdout
    finished = run_script("check_data.py", "--data_root", tmp_path / "nowhere", *flags)
    assert finished.returncode == 2 and len(finished.stderr.splitlines()) == 1


# ---- lists ----


@pytest.fixture
def clips(tmp_path):
    """Six clips of two classes in a folder; [the rows of a list of them]."""
    for label in ("real", "mimi"):
        for part in ("train", "dev", "test"):
            soundfile.write(tmp_path / f"{label}_{part}.wav", 0.1 * RNG.standard_normal(80_000), 16_000)
    return [f"{label}_{part}.wav,{label},{part}" for part in ("train", "dev", "test") for label in ("real", "mimi")]


def check_lists(tmp_path, *flags):
    """(exit status, {kind: files}) of check_data.py on lists."""
    folder = tmp_path / "check"
    finished = run_script("check_data.py", *flags, "--check_folder", folder, "--num_workers", 0)
    with open(folder / "findings.csv", encoding="utf-8", newline="") as file:
        return finished, [(row["kind"], row["part"]) for row in csv.DictReader(file)]


def test_a_corpus_of_lists_needs_no_other_corpus(clips, tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("\n".join(["file,label,split", *clips]))
    finished, findings = check_lists(tmp_path, "--train_list", path)
    assert finished.returncode == 0 and findings == [] and "19LA" not in finished.stdout
    (tmp_path / "mimi_dev.wav").unlink()
    finished, findings = check_lists(tmp_path, "--train_list", path, "--condition", "all", "ITW")
    assert finished.returncode == 1 and findings == [("unusable", "ITW"), ("missing", "dev")]


def test_a_list_of_training_clips_alone_is_checked(clips, tmp_path):
    path, copy = tmp_path / "clips.csv", tmp_path / "copy.csv"
    path.write_text("\n".join(["file,label", *(row.rpartition(",")[0] for row in clips)]))
    finished, findings = check_lists(tmp_path, "--train_list", path)
    assert finished.returncode == 0 and findings == []
    assert "skipped dev: " in finished.stdout and "give --dev_rows, or another list as --dev_list" in finished.stdout
    shutil.copy(path, copy)
    finished, findings = check_lists(tmp_path, "--train_list", path, "--eval_list", copy)
    assert finished.returncode == 1 and findings == [("duplicate", "train, eval")] * 6
