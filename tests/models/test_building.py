"""Models with any number of classes: made, saved, and loaded with the number that the run or the weights give."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers import ROOT
from helpers.training import save_run, small_model

from config import Config
from models import MODELS, Model
from models.building import build_model, build_network, check_trained_by, load_model
from utils.errors import InputError
from utils.model_files import CHECKPOINT

CLASS_COUNTS = (2, 3, 9, 40)
TINY = Config(SSL_path="tiny-random")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("classes", CLASS_COUNTS)
@pytest.mark.slow
def test_any_number_of_classes(name, classes, tmp_path):
    torch.manual_seed(0)
    model = build_model(replace(TINY, model=name, num_classes=classes))
    assert model.head.out_features == classes
    save_run(tmp_path / "weights", model)
    save_run(tmp_path / "run", model, replace(TINY, model=name, num_classes=classes))
    save_run(tmp_path / "silent run", model, replace(TINY, model=name))  # its args.json says num_classes null
    asked = replace(TINY, model=name)
    for folder in ("weights", "run", "silent run"):
        loaded = load_model(tmp_path / folder, asked)
        for key, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value)
    asked = replace(asked, num_classes=classes + 1)
    assert load_model(tmp_path / "run", asked).head.out_features == classes  # the run decides, not the flag
    for folder in ("weights", "silent run"):
        with pytest.raises(InputError) as caught:
            load_model(tmp_path / folder, asked)
        path = tmp_path / folder / CHECKPOINT
        assert (
            str(caught.value) == f"{path} knows {classes} classes, expected {classes + 1}: pass --num_classes {classes}"
        )


@pytest.mark.parametrize("classes", CLASS_COUNTS)
@pytest.mark.parametrize("name", ["Rawaasist", "W2VAASIST"])
def test_logits_of_any_number_of_classes(name, classes):
    signal = torch.randn(1, *{"Rawaasist": (8000,), "W2VAASIST": (40, 16)}[name])
    features, logits = build_network(name, classes, hidden_size=16).eval()(signal)
    assert features.shape == (1, 160) and logits.shape == (1, classes)


def test_a_row_may_name_its_network_or_hold_it(monkeypatch):
    monkeypatch.setitem(MODELS, "small", Model(small_model))
    monkeypatch.setitem(MODELS, "named", Model("helpers.training:small_model"))
    monkeypatch.setitem(MODELS, "on a front end", Model(small_model, needs_front_end=True))
    wave = torch.randn(2, 4000)
    for name in ("small", "named", "on a front end"):
        _, logits = build_model(replace(TINY, model=name, num_classes=5))(wave)
        assert logits.shape == (2, 5)


def test_the_tables_import_no_torch():
    code = "import sys, models; assert models.MODELS and models.FRONT_ENDS; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


def test_a_model_of_another_script_is_not_trained_here():
    with pytest.raises(InputError) as caught:
        check_trained_by(Config(model="fingerprint-kernel"), "main_train.py")
    assert str(caught.value) == ("--model fingerprint-kernel is trained by evaluate_held_out.py, not by main_train.py")
    check_trained_by(Config(model="fingerprint"), "main_train.py")
