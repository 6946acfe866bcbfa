"""Runs made before the code moved into folders load, trace and continue; weights keep their names and order."""

import gzip
import json
import shutil

import pytest
import torch
from helpers import FIXTURES
from helpers.training import small_corpus, use_small_model

import main_train
import source_tracing_id
from config import Config
from config_taxonomy import TaxonomyConfig
from models.building import build_model
from models.taxonomy_building import build_taxonomy_loss, build_taxonomy_model
from models.weights import trained_state

RUNS = FIXTURES / "runs"
TAXONOMY = {
    "W2V2AASIST M1": {"model_type": "M1"},
    "W2V2AASIST S_VQ": {"model_type": "S_VQ"},
    "SASTNet VQ": {"model": "SASTNet", "size": "small", "no_pretrained": True, "task": "VQ"},
}
WEIGHTS = json.loads(gzip.decompress((RUNS / "weights.json.gz").read_bytes()))


@pytest.fixture
def flags(tmp_path, monkeypatch):
    """The flags of the stored run; a copy of its folder lies in `run`."""
    use_small_model(monkeypatch)
    shutil.copytree(RUNS / "small", tmp_path / "run")
    corpus = small_corpus(tmp_path / "st-codecfake", classes=3)
    return [*("--data_root", str(corpus), "--num_workers", "0", "--batch_size", "3")]


def score_rows(path):
    return [line.split() for line in path.read_text().splitlines()]


def test_a_stored_run_is_traced_as_before(flags, tmp_path):
    folders = [*("--result", str(tmp_path), "--save_feats", str(tmp_path))]
    source_tracing_id.main([*flags, "--model_folder", str(tmp_path / "run"), *folders])
    rows, before = score_rows(tmp_path / "result_id.txt"), score_rows(RUNS / "result_id.txt")
    assert [row[:2] for row in rows] == [row[:2] for row in before]
    for (*_, confidence), (*_, confidence_before) in zip(rows, before, strict=True):
        assert float(confidence) == pytest.approx(float(confidence_before), abs=1e-5)


def test_a_stored_run_is_continued_as_before(flags, tmp_path):
    recipe = [*("--model", "mellcnn", "--num_classes", "3", "--lr", "0.02")]
    run = [*flags, *recipe, "-o", str(tmp_path / "run"), "--num_epochs", "9"]
    main_train.main([*run, "--continue_training"])
    stored = (RUNS / "small/log.jsonl").read_text().splitlines()
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert log[:-1] == stored
    assert json.loads(log[-1]) == pytest.approx(json.loads((RUNS / "epoch_9.json").read_text()), abs=1e-5)
    assert (tmp_path / "run/checkpoint/anti-spoofing_feat_model_9.pt").is_file()


def built(name):
    """The shipped model that WEIGHTS calls `name`, and its loss, where that holds weights; with small front ends."""
    if name in TAXONOMY:
        config = TaxonomyConfig(SSL_path="tiny-random", **TAXONOMY[name])
        return build_taxonomy_model(config), build_taxonomy_loss(config)
    return build_model(Config(model=name, SSL_path="tiny-random")), torch.nn.Module()


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_weights_of_each_model_keep_names_and_order(name):
    model, loss = built(name)
    trained = [[weight, list(value.shape)] for weight, value in model.named_parameters() if value.requires_grad]
    assert trained == WEIGHTS[name]["trained"]
    state = [[weight, list(value.shape)] for weight, value in trained_state(model).items()]
    assert state == WEIGHTS[name]["state"]
    held = [[weight, list(value.shape)] for weight, value in loss.state_dict().items()]
    assert held == WEIGHTS[name].get("objective", [])
