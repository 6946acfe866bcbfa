"""Runs with --finetune: killed and continued, on several processes, and traced."""

import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers import ROOT, run_script
from helpers.front_end_files import random_model, save_model
from helpers.launching import launch
from helpers.training import assert_same_weights, small_corpus

import main_train
import source_tracing_id
from config import Config
from models.building import load_model
from utils.model_files import CHECKPOINT

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A small corpus and the flags of a run on a small front end with dropout."""
    root = tmp_path_factory.mktemp("tuned")
    corpus = small_corpus(root / "corpus", 3)
    path = save_model(random_model("hubert large", hidden_dropout=0.1), root / "ssl")
    flags = ["--data_root", corpus, "--num_workers", 0, "--SSL_path", path, "--ssl_layer", 2, "--batch_size", 4]
    return [str(flag) for flag in (*flags, "--num_classes", 3, "--head", "mhfa", "--front_end_lr", 0.01)]


def kill_after_an_epoch(command, folder):
    """Run `command` and end it with SIGKILL as soon as the first epoch is in the log of `folder`."""
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until = time.monotonic() + 300
    while not (folder / "log.jsonl").exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    error = process.communicate()[1].decode()
    assert process.returncode == -signal.SIGKILL, error[-2000:]


@pytest.mark.parametrize("choice", ["lora", "last:1"])
def test_a_killed_run_continues_to_the_same_weights(choice, work, tmp_path):
    flags = [*work, "--finetune", choice, "--num_epochs", "6"]
    main_train.main([*flags, "-o", str(tmp_path / "whole")])
    kill_after_an_epoch(["main_train.py", *flags, "-o", str(tmp_path / "killed")], tmp_path / "killed")
    begun = len((tmp_path / "killed/log.jsonl").read_text().splitlines())
    assert 1 <= begun < 6
    main_train.main([*flags, "-o", str(tmp_path / "killed"), "--continue_training"])
    for name in (CHECKPOINT, "checkpoint/anti-spoofing_feat_model_6.pt"):
        assert_same_weights(tmp_path / "whole" / name, tmp_path / "killed" / name)
    state = torch.load(tmp_path / "whole" / CHECKPOINT, weights_only=True)
    assert any(name.startswith("wav2vec2.") for name in state)
    result = ["--result", str(tmp_path / "result"), "--save_feats", str(tmp_path / "feats")]
    model = ["--model_folder", str(tmp_path / "whole"), *work[:4]]
    source_tracing_id.main([*model, *result])  # args.json decides the rest
    outputs = torch.load(tmp_path / "feats/evaldict_id.pt", weights_only=True)
    assert outputs["feas"].shape[1] == 256 and outputs["logits"].shape == (6, 3)


@pytest.mark.parametrize("choice", ["lora", "all"])
def test_two_processes_tune_one_front_end(choice, work, tmp_path):
    flags = [*work, "--finetune", choice, "--num_epochs", "2", "-o", str(tmp_path / "two"), "--gpu", "-1"]
    done = run_script(*launch("torchrun", 2), ROOT / "main_train.py", *flags)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in (tmp_path / "two/log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert load_model(tmp_path / "two", Config()).front_end.trained_parts
