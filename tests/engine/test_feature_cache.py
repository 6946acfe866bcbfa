"""--cache_features: the front end runs once, losses are those of its output in half precision, and parts never pass
for the whole."""

import json
import os
import shutil
from collections import namedtuple

import numpy as np
import pytest
import torch
from helpers import ROOT, change_quietly, run_script
from helpers.launching import launch
from helpers.xlsr_files import TINY
from safetensors.torch import load_file, save_file

import main_train
import source_tracing_id
from config import Config
from data.dataset import Clips
from data.protocols import label_file
from engine.cached_features import cached_features
from engine.inference import make_accelerator
from models.building import build_model
from models.weights import frozen_digest
from models.xlsr import XlsrFrontEnd
from utils.errors import InputError


def flags(corpus, out, *more, model="W2VAASIST"):
    base = ["--data_root", corpus, "-o", out, "--model", model, "--SSL_path", "tiny-random", "--num_epochs", 1]
    return [str(part) for part in (*base, "--batch_size", 7, "--num_workers", 0, *more)]


def cached_config(corpus, folder, **more):
    options = {"SSL_path": "tiny-random", "num_workers": 0, "batch_size": 4} | more
    return Config(data_root=corpus, cache_features=folder, **options)


def dev_set(config):
    return Clips(label_file("dev_wav", "dev_label")(config))


def store(config):
    """The stored development set that `config` asks for, and its front end."""
    front_end, data = cached_features(config, make_accelerator(config), {"dev": dev_set(config)})
    return front_end, data["dev"]


def not_built(*_, **__):
    raise AssertionError("weights are read although the cache is whole")


def test_the_values_are_the_front_end_s_in_half_precision(corpus, tmp_path):
    config = cached_config(corpus, tmp_path)
    (place, data), full = store(config), build_model(config).eval()
    model = build_model(config, place).eval()
    model.load_state_dict(full.state_dict(), strict=False)
    _, wave, label = next(iter(torch.utils.data.DataLoader(dev_set(config), 7)))
    _, hidden, stored_label = next(iter(torch.utils.data.DataLoader(data, 7)))
    assert hidden.dtype == torch.float16 and torch.equal(label, stored_label)
    with torch.no_grad():
        expected = full.front_end(wave)
        torch.testing.assert_close(hidden.float(), expected, atol=1e-5, rtol=2**-11)
        # The same numbers give the same loss; what is left is their rounding.
        rounded = full.network(hidden.float())[1]
        torch.testing.assert_close(model(hidden)[1], rounded, atol=0, rtol=0)
        losses = [torch.nn.functional.cross_entropy(logits, label) for logits in (rounded, full(wave)[1])]
    assert abs(losses[0] - losses[1]) < 1e-3
    assert frozen_digest(model) == frozen_digest(full)


@pytest.mark.slow
def test_a_second_run_builds_no_front_end_and_gives_the_same_losses(corpus, tmp_path, monkeypatch, capsys):
    more = ["--cache_features", tmp_path / "cache"]
    main_train.main(flags(corpus, tmp_path / "one", *more))
    assert "train: storing the hidden states of 21 clips" in capsys.readouterr().out
    monkeypatch.setattr(XlsrFrontEnd, "fill", not_built)
    main_train.main(flags(corpus, tmp_path / "two", *more))
    logs = [(tmp_path / run / "log.jsonl").read_text() for run in ("one", "two")]
    assert logs[0] == logs[1]
    # ... and the run goes on without it, its digest known to belong to the run
    main_train.main(flags(corpus, tmp_path / "two", *more, "--num_epochs", 2, "--continue_training"))


@pytest.mark.slow
def test_tracing_reads_the_cache(corpus, tmp_path, monkeypatch):
    main_train.main(flags(corpus, tmp_path / "model"))
    run = ["--data_root", corpus, "--model_folder", tmp_path / "model", "--num_workers", "0", "--batch_size", "4"]
    saved = []
    for name, more in (("plain", []), ("first", ["--cache_features", tmp_path / "cache"])):
        out = ["--result", tmp_path / name, "--save_feats", tmp_path / name]
        source_tracing_id.main([str(part) for part in (*run, *out, *more)])
        saved.append(torch.load(tmp_path / name / "evaldict_id.pt", weights_only=True))
    apart = (saved[0]["logits"] - saved[1]["logits"]).abs().amax(dim=1)
    assert apart.median() < 1e-4 and apart.max() < 0.02  # rounding may make the graph pool keep another node
    forward, seen = XlsrFrontEnd.forward, []
    monkeypatch.setattr(XlsrFrontEnd, "forward", lambda self, wave: seen.append(len(wave)) or forward(self, wave))
    source_tracing_id.main([str(part) for part in (*run, *out, *more)])
    assert seen == [1]  # to learn the shape
    again = torch.load(tmp_path / "first/evaldict_id.pt", weights_only=True)
    assert torch.equal(saved[1]["logits"], again["logits"])


def test_a_part_is_never_read_as_whole_and_is_continued(corpus, tmp_path, monkeypatch):
    expected = (store(cached_config(corpus, tmp_path / "whole"))[1]).path.read_bytes()
    forward, seen = XlsrFrontEnd.forward, []

    def stopped(self, wave):
        seen.append(len(wave))
        if seen == [1, 4, 3]:  # the shape, a batch, and then Ctrl-C
            raise KeyboardInterrupt
        return forward(self, wave)

    monkeypatch.setattr(XlsrFrontEnd, "forward", stopped)
    config = cached_config(corpus, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        store(config)
    (folder,) = (tmp_path / "cut").iterdir()
    assert json.loads((folder / "cache.json").read_text())["whole"] is False
    assert store(config)[1].path.read_bytes() == expected
    assert seen[3:] == [1, 3]
    assert json.loads((folder / "cache.json").read_text())["whole"] is True


@pytest.mark.parametrize("name", ["hidden_states.f16", "cache.json"])
def test_a_damaged_cache_is_made_again(corpus, tmp_path, name):
    config = cached_config(corpus, tmp_path)
    path = store(config)[1].path
    expected, damaged = path.read_bytes(), path.with_name(name)
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert store(config)[1].path.read_bytes() == expected


@pytest.mark.parametrize(
    "change", [{"shape": "x"}, {"shape": [0, 1]}, {"shape": [5]}, {"front_end": 1}, {"whole": 1}, {"clips": None}]
)
def test_a_cache_whose_description_has_another_form_is_made_again(corpus, tmp_path, change):
    config = cached_config(corpus, tmp_path)
    path = store(config)[1].path
    expected, about = path.read_bytes(), path.with_name("cache.json")
    content = about.read_text()
    about.write_text(json.dumps(json.loads(content) | change))
    assert store(config)[1].path.read_bytes() == expected and about.read_text() == content


def test_other_weights_layers_and_files_have_a_cache_of_their_own(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "corpus")
    shutil.copytree(TINY, tmp_path / "xlsr")
    options = {"SSL_path": str(tmp_path / "xlsr"), "ssl_layer": 2}
    config = cached_config(tmp_path / "corpus", tmp_path / "cache", **options)
    paths = [store(config)[1].path, store(config)[1].path]
    assert paths[0] == paths[1]
    paths.append(store(cached_config(tmp_path / "corpus", tmp_path / "cache", **options | {"ssl_layer": 3}))[1].path)
    os.utime(tmp_path / "corpus/dev/dev_2_0.wav", (1, 1))  # the content decides
    assert store(config)[1].path == paths[0]
    change_quietly(tmp_path / "corpus/dev/dev_2_0.wav")
    paths.append(store(config)[1].path)
    weights = load_file(tmp_path / "xlsr/model.safetensors")
    save_file({name: value * 1.01 for name, value in weights.items()}, tmp_path / "xlsr/model.safetensors")
    paths.append(store(config)[1].path)
    assert len(set(paths)) == 4
    shutil.move(tmp_path / "xlsr", tmp_path / "moved")  # the same weights elsewhere
    moved = cached_config(tmp_path / "corpus", tmp_path / "cache", **options | {"SSL_path": str(tmp_path / "moved")})
    assert store(moved)[1].path == paths[-1]


@pytest.mark.parametrize(
    ("model", "more", "reason"),
    [
        ("mellcnn", [], "--model mellcnn has no frozen front end whose output could be kept: leave out one of the two"),
        ("W2VAASIST", ["--ssl_norm", "batch"], "with --ssl_norm batch, the output for a clip depends on"),
        ("W2VAASIST", ["--on_bad_audio", "skip"], "so it cannot go with --on_bad_audio skip: leave out one of the two"),
    ],
)
def test_what_cannot_be_kept_is_refused(corpus, tmp_path, model, more, reason):
    with pytest.raises(InputError) as caught:
        main_train.main(flags(corpus, tmp_path / "model", "--cache_features", tmp_path / "cache", *more, model=model))
    assert str(caught.value).startswith(f"--cache_features {tmp_path / 'cache'}: ") and reason in str(caught.value)
    assert not (tmp_path / "cache").exists() and not (tmp_path / "model").exists()


def test_a_disk_that_is_too_small_is_told_before_the_work(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: namedtuple("Usage", "total used free")(1, 1, 1000))
    with pytest.raises(
        InputError, match=r"0\.0 GB are needed for 7 clips, 0\.0 GB are free: give a folder on a larger"
    ):
        store(cached_config(corpus, tmp_path))
    assert not list(tmp_path.rglob("*.f16"))


def test_values_beyond_half_precision_are_refused(corpus, tmp_path, monkeypatch):
    forward = XlsrFrontEnd.forward
    monkeypatch.setattr(XlsrFrontEnd, "forward", lambda self, wave: 1e5 * forward(self, wave))
    config = cached_config(corpus, tmp_path)
    said = r"dev_0_0\.wav: the output of the front end is too large for half precision: "
    with pytest.raises(InputError, match=f"{said}leave out --cache_features$"):
        store(config)
    with pytest.raises(InputError, match=f"{said}give --ssl_layer other layers$"):  # as probe_layers.py
        cached_features(config, make_accelerator(config), {"dev": dev_set(config)}, pooled=True)


@pytest.mark.slow
def test_two_processes_fill_what_one_does(corpus, tmp_path):
    run = flags(corpus, tmp_path / "model", "--cache_features", tmp_path / "two", "--batch_size", 2)
    finished = run_script(
        *launch("torchrun", 2), ROOT / "main_train.py", *run, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    path = store(cached_config(corpus, tmp_path / "one", batch_size=2))[1].path
    both = [np.fromfile(tmp_path / run / path.parent.name / path.name, np.float16) for run in ("one", "two")]
    np.testing.assert_allclose(*both, atol=1e-5, rtol=2**-10)
