"""Several seeds: each run is that of its seed, and their metrics are summed up by mean and deviation."""

import json
import shutil
import statistics

import pytest
from helpers import ROOT, run_script
from helpers.launching import launch
from helpers.training import assert_same_weights, flags

import main_train
import summarise_seeds
from config import Config
from evaluation.tables import write_metrics
from utils.errors import InputError
from utils.model_files import CHECKPOINT


@pytest.fixture(scope="module")
def trained_twice(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds") / "model"
    main_train.main(flags(corpus, folder, "--num_epochs", 1, "--seeds", 1, 2))
    return folder


@pytest.mark.slow
def test_each_run_is_that_of_its_seed(trained_twice, corpus, tmp_path):
    assert sorted(path.name for path in trained_twice.iterdir()) == ["seed-1", "seed-2"]
    main_train.main(flags(corpus, tmp_path / "alone", "--num_epochs", 1, "--seed", 2))
    assert_same_weights(trained_twice / "seed-2" / CHECKPOINT, tmp_path / "alone" / CHECKPOINT)
    logs = [(trained_twice / name / "log.jsonl").read_text() for name in ("seed-1", "seed-2")]
    assert logs[0] != logs[1]
    run = json.loads((trained_twice / "seed-2/args.json").read_text())["config"]
    assert run["seed"] == 2 and run["seeds"] == []


@pytest.mark.slow
def test_an_interrupted_set_of_runs_goes_on(trained_twice, corpus, tmp_path):
    shutil.copytree(trained_twice, tmp_path / "model")
    shutil.rmtree(tmp_path / "model/seed-2")  # as if stopped before
    more = ["--num_epochs", 1, "--seeds", 1, 2, 3]
    with pytest.raises(InputError, match=r"seed-1 already holds a training run"):
        main_train.main(flags(corpus, tmp_path / "model", *more))
    assert not (tmp_path / "model/seed-3").exists()
    before = (tmp_path / "model/seed-1/last/state.pt").read_bytes()
    main_train.main(flags(corpus, tmp_path / "model", *more, "--continue_training"))
    assert (tmp_path / "model/seed-1/last/state.pt").read_bytes() == before
    assert_same_weights(trained_twice / "seed-2" / CHECKPOINT, tmp_path / "model/seed-2" / CHECKPOINT)
    assert (tmp_path / "model/seed-3" / CHECKPOINT).exists()


@pytest.mark.slow
def test_two_processes_train_every_seed(corpus, tmp_path):
    run = flags(corpus, tmp_path / "two", "--num_epochs", 1, "--seeds", 1, 2)
    finished = run_script(*launch("torchrun", 2), ROOT / "main_train.py", *run)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.count("dev_loss") == 2
    for name in ("seed-1", "seed-2"):
        assert len((tmp_path / "two" / name / "log.jsonl").read_text().splitlines()) == 1


# ---- summary ----

WRITTEN = {
    "id_f1": lambda x: {"macro_f1": 90 + x, "macro_f1_interval": [1, 2], "class_f1": [80 + x, 70], "files": 5},
    "id_config": lambda x: {
        "suite": "config",
        "conditions": [{"condition": "C3-1", "f1": 50 + 2 * x, "paper": {"a": 1}}],
    },
    "open_set": lambda x: {
        "calibration_error": {"before": 3 + x, "after": 1},
        "figures": [{"detector": "knn", "condition": "voc", "auc": 60 - x, "class_thresholds": {"accepted": 1}}],
    },
    "taxonomy": lambda x: {"tasks": {"vq": {"weighted_f1": 10 * x, "class_f1": {"SVQ": x}, "confusion": [[1]]}}},
}


def write_runs(folder, seeds):
    for seed in seeds:
        result = folder / f"seed-{seed}/result"
        result.mkdir(parents=True)
        for name, figures in WRITTEN.items():
            (result / f"{name}.json").write_text(json.dumps(figures(seed)))
    return folder


def test_mean_and_deviation_of_every_metric(tmp_path, capsys):
    write_runs(tmp_path, (1, 2, 10))
    for seed in (1, 2, 10):
        (tmp_path / f"seed-{seed}/result/report.json").write_text('{"evaluations": {"id_f1": {"macro_f1": 1}}}')
    summarise_seeds.main([str(tmp_path), "--json", str(tmp_path / "seeds.json")])
    written = json.loads((tmp_path / "seeds.json").read_text())
    assert written["runs"] == ["seed-1", "seed-2", "seed-10"]
    rows = {row["figure"]: row for row in written["figures"]}
    assert rows.keys() == {
        *("id_f1 macro_f1", "id_f1 class_f1 0", "id_f1 class_f1 1", "id_config C3-1 f1"),
        *("open_set calibration_error before", "open_set calibration_error after", "open_set knn voc auc"),
        *("taxonomy vq weighted_f1", "taxonomy vq class_f1 SVQ"),
    }
    row = rows["id_config C3-1 f1"]
    assert row["values"] == {"seed-1": 52, "seed-2": 54, "seed-10": 70}
    assert row["mean"] == pytest.approx(176 / 3) and row["sd"] == pytest.approx(statistics.stdev([52, 54, 70]))
    shown = capsys.readouterr().out
    assert "Mean and standard deviation over 3 runs" in shown
    line = next(line for line in shown.splitlines() if line.startswith("id_f1 macro_f1"))
    assert line.split()[2:] == ["94.33", "±", "4.93", "91.00", "92.00", "100.00"]


def test_runs_given_one_by_one_and_what_they_lack(tmp_path, capsys):
    write_runs(tmp_path, (1, 2))
    (tmp_path / "seed-2/result/open_set.json").unlink()
    summarise_seeds.main([str(tmp_path / "seed-1"), str(tmp_path / "seed-2")])
    shown = capsys.readouterr().out
    assert "3 metrics are not in every run and are left out (first: open_set calibration_error after)" in shown


def test_refusals(tmp_path):
    finished = run_script("summarise_seeds.py", tmp_path)
    line = f"error: {tmp_path} holds 0 folders seed-*/: a standard deviation needs at least two runs\n"
    assert finished.returncode == 2 and finished.stderr == line
    write_runs(tmp_path, (1, 2))
    (tmp_path / "seed-1/result/id_f1.json").write_text("{")
    with pytest.raises(InputError, match=r"seed-1/result/id_f1\.json is not JSON \("):
        summarise_seeds.main([str(tmp_path)])
    write_metrics(Config(json=tmp_path / "seed-1/result/id_f1.json"), WRITTEN["id_f1"](1))
    summarise_seeds.main([str(tmp_path)])
    path = tmp_path / "seed-1/result/id_f1.json"
    path.write_text(path.read_text().replace("91", "19", 1))
    with pytest.raises(InputError, match=r"seed-1/result/id_f1\.json is not what the script wrote there: run"):
        summarise_seeds.main([str(tmp_path)])
    shutil.rmtree(tmp_path / "seed-1/result")
    with pytest.raises(InputError, match=r"seed-1/result holds no \.json file: run the evaluation scripts with --json"):
        summarise_seeds.main([str(tmp_path)])
