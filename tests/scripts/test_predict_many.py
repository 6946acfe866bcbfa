"""predict.py over many files: the same bytes however the work is shared and after a stop; what is shown."""

import csv
import json
import signal
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import soundfile
from helpers import ROOT, change_quietly, run_script
from helpers.launching import launch

import predict
from data import audio
from prediction import output, result_files
from prediction.journal import SUFFIX
from utils.errors import InputError

COUNT = 130  # files: blocks of two


@pytest.fixture(scope="module")
def links(tmp_path_factory):
    """A folder of links to a few short files, one of which is no audio, one too long for a window, and one stereo."""
    folder, rng = tmp_path_factory.mktemp("many"), np.random.default_rng(5)
    (folder / "links").mkdir()
    sources = [folder / f"{number}.wav" for number in range(7)]
    for number, path in enumerate(sources[:-1]):
        seconds, channels = (9, 1) if number == 0 else (0.6 + 0.1 * number, 1 + number % 2)
        soundfile.write(path, 0.1 * rng.standard_normal((int(seconds * 16_000), channels)), 16_000)
    sources[-1].write_text("no audio")
    for number in range(COUNT):
        (folder / "links" / f"{number:03}.wav").symlink_to(sources[number % 7])
    return folder / "links"


def arguments(links, target, *more):
    outputs = "--csv", target / "out.csv", "--json", target / "out.json", "--jsonl", target / "out.jsonl"
    return list(map(str, (links, *outputs, "--gpu", "-1", *more)))


def written(target):
    return {path.name: path.read_bytes() for path in target.iterdir()}


@pytest.fixture(scope="module")
def expected(links, tmp_path_factory):
    """{name: bytes} of the files of one undisturbed process without workers."""
    target = tmp_path_factory.mktemp("expected")
    with pytest.raises(SystemExit, match="1"):
        predict.main(arguments(links, target, "--num_workers", 0))
    return written(target)


def test_every_file_has_a_line_in_its_place(expected, links):
    rows = list(csv.DictReader(expected["out.csv"].decode().splitlines()))
    lines = [json.loads(line) for line in expected["out.jsonl"].splitlines()]
    whole = json.loads(expected["out.json"])
    names = [str(links / f"{number:03}.wav") for number in range(COUNT)]
    assert [row["file"] for row in rows] == [row["file"] for row in lines] == names
    assert whole["files"] == [row for row in lines if "verdict" in row] and len(whole["failed"]) == COUNT // 7
    assert whole["failed"] == [row for row in lines if "error" in row]
    assert expected["out.json"].decode() == json.dumps(whole, indent=2) + "\n"
    for row, line in zip(rows, lines, strict=True):
        assert row["verdict"] == line.get("verdict", "") and row["error"] == line.get("error", "")


@pytest.mark.slow
@pytest.mark.parametrize("processes, workers", [(1, 2), (2, 1)])
def test_the_bytes_do_not_depend_on_how_the_work_is_shared(processes, workers, links, expected, tmp_path):
    launcher = launch("torchrun", processes) if processes > 1 else []
    more = "--num_workers", workers
    finished = run_script(*launcher, ROOT / "predict.py", *arguments(links, tmp_path, *more))
    assert finished.returncode == 1 and written(tmp_path) == expected
    assert finished.stdout.count(f"wrote {tmp_path / 'out.csv'}") == 1


def stop_midway(command, journal, number):
    """Start `command`, and send the signal `number` once the journal holds some files; gives its status and stderr."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 9):
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(), process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("number, workers", [(signal.SIGKILL, 2), (signal.SIGINT, 0)])
def test_a_stopped_run_goes_on_to_the_same_bytes(number, workers, links, expected, tmp_path):
    given = arguments(links, tmp_path, "--num_workers", workers)
    journal = tmp_path / f"out.csv{SUFFIX}"
    status, shown = stop_midway([sys.executable, ROOT / "predict.py", *given], journal, number)
    assert status == (-number if number == signal.SIGKILL else 128 + number)
    left = journal.read_bytes()
    assert 9 < left.count(b"\n") < COUNT and not (tmp_path / "out.csv").exists()
    if number != signal.SIGKILL:
        kept = left.count(b"\n") - 1
        assert f"stopped: {journal} holds {kept} of {COUNT} files; the same command goes on there\n" in shown
    journal.write_bytes(left + b'{"file": "torn')
    finished = run_script(ROOT / "predict.py", *given)
    assert finished.returncode == 1 and written(tmp_path) == expected
    whole = (len(left.splitlines()) - 1) // 2 * 2  # files of complete blocks
    assert f"goes on after {whole} of {COUNT} files, which {journal} holds\n" in finished.stdout


def interrupted(monkeypatch, given):
    """Run predict.py in this process until its fourth file ends in Ctrl-C."""
    from prediction import tracer

    explain = tracer.Tracer._predict
    left = iter(range(3))

    def predict_some(*anything):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return explain(*anything)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracer.Tracer, "_predict", predict_some)
        predict.main(given)


def test_another_run_does_not_touch_what_a_stopped_one_left(links, tmp_path, monkeypatch):
    files = [str(links / f"{number:03}.wav") for number in range(6)]
    given = [*files, "--csv", str(tmp_path / "a.csv"), "--num_workers=0"]
    interrupted(monkeypatch, given)
    journal = tmp_path / f"a.csv{SUFFIX}"
    left = journal.read_bytes()
    message = (
        f"{journal} holds the results of another run, which was stopped: end that run by its own command, or delete"
        " this file"
    )
    for other in (given[1:], [*given, "--batch_size", "2"], [*given, "--channel", "1"], [*given, "--hop", "1"]):
        with pytest.raises(InputError) as caught:
            predict.main(other)
        assert str(caught.value) == message
    assert journal.read_bytes() == left and [path.name for path in tmp_path.iterdir()] == [journal.name]
    predict.main(given)
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize("change", ["other content", "gone", "other time"])
def test_a_file_that_changes_before_the_resume_is_traced_again(change, links, tmp_path, monkeypatch, capsys):
    files = [tmp_path / f"{number}.wav" for number in range(5)]
    for number, file in enumerate(files):
        file.write_bytes((links / f"{number + 1:03}.wav").read_bytes())
    given = [*map(str, files), "--num_workers=0", "--csv"]
    interrupted(monkeypatch, [*given, str(tmp_path / "a.csv")])
    if change == "other content":
        change_quietly(files[1])
    elif change == "gone":
        files[1].unlink()
    else:
        files[1].touch()
    status = 0 if change != "gone" else 1
    capsys.readouterr()
    shown = []
    for name in ("a.csv", "b.csv"):
        try:
            predict.main([*given, str(tmp_path / name)])
        except SystemExit as ended:
            assert ended.code == status
        shown.append(capsys.readouterr().out)
    again = f"{files[1]} has changed since the run was stopped: 2 files, from its block on, are traced again\n"
    kept = 3 if change == "other time" else 1
    where = f"goes on after {kept} of 5 files, which {tmp_path / 'a.csv'}{SUFFIX} holds\n"
    assert shown[0].startswith(where if kept == 3 else again + where) and "goes on" not in shown[1]
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.parametrize("line", ["[]", "{}", '{"sha256": null, "result": {"file": 1}, "crc32": 5}', None])
def test_a_line_that_is_not_what_was_written_is_traced_again(line, links, tmp_path, monkeypatch, capsys):
    files = [str(links / f"{number:03}.wav") for number in range(1, 6)]
    given = [*files, "--num_workers=0", "--csv", str(tmp_path / "a.csv")]
    interrupted(monkeypatch, given)
    journal = tmp_path / f"a.csv{SUFFIX}"
    first, second, *rest = journal.read_text().splitlines()
    changed = rest[0].replace('"windows": 1', '"windows": 2') if line is None else line
    assert changed != rest[0]
    journal.write_text("\n".join([first, second, changed, *rest[1:]]) + "\n")
    predict.main(given)
    assert f"goes on after 1 of 5 files, which {journal} holds\n" in capsys.readouterr().out


def test_each_file_is_opened_once(links, tmp_path, monkeypatch):
    opened = Counter()
    first = audio.open_in_turn

    def counting(path, stack):
        opened[path.name] += 1
        return first(path, stack)

    monkeypatch.setattr(audio, "open_in_turn", counting)
    predict.main([*(str(links / f"{number:03}.wav") for number in range(6)), "--num_workers=0"])
    assert opened == {f"{number:03}.wav": 1 for number in range(6)}


def test_many_files_are_only_counted_where_a_file_holds_them(links, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(output, "MOST_ROWS", 5)
    monkeypatch.setattr(output, "MOST_WARNINGS", 1)
    files = [str(links / f"{number:03}.wav") for number in range(14)]
    common = [*files, "--num_workers=0"]
    for more, lines in (((), 12), (("--jsonl", str(tmp_path / "a.jsonl")), 0)):
        with pytest.raises(SystemExit, match="1"):
            predict.main([*common, *more])
        shown = capsys.readouterr()
        assert sum(line.startswith(str(links)) for line in shown.out.splitlines()) == lines
        assert "cannot be used      2  14.3\n14 files in " in shown.out
        assert shown.err.count("error: ") == 1 and "... and 1 more files that cannot be used" in shown.err


@pytest.mark.slow
def test_a_reader_that_ends_early_changes_no_file(links, expected, tmp_path):
    given = arguments(links, tmp_path, "--num_workers", 0)
    command = [sys.executable, ROOT / "predict.py", *given]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.close()
        process.wait()
    assert written(tmp_path) == expected


def test_parquet_has_the_table_of_the_csv(links, expected, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with pytest.raises(SystemExit, match="1"):
        predict.main(arguments(links, tmp_path, "--num_workers=0", "--parquet", tmp_path / "out.parquet"))
    table = parquet.read_table(tmp_path / "out.parquet")
    rows = list(csv.DictReader(expected["out.csv"].decode().splitlines()))
    assert table.column_names == list(rows[0]) and str(table.schema.field("score").type) == "double"
    for row, line in zip(table.to_pylist(), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in row.items()} == line


def test_without_pyarrow_only_parquet_is_refused(links, tmp_path, monkeypatch):
    monkeypatch.setattr(result_files.importlib.util, "find_spec", lambda name: None)
    message = "--parquet needs pyarrow, which is not installed: pip install pyarrow, or use --csv"
    with pytest.raises(InputError, match=message):
        predict.main([str(links), "--parquet", str(tmp_path / "a.parquet")])
