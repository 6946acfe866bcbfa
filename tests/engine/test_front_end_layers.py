"""--ssl_layer with several layers: weights that are learned, saved, read back, and cached; families in both systems."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from helpers.front_end_files import small_front_end

import main_train
import main_train_taxonomy
import report
import source_tracing_id
from config import Config
from config_taxonomy import TaxonomyConfig
from models.building import build_model, load_model
from models.front_ends import FrontEndModel, StoredHiddenStates
from models.layer_choice import parse_layers
from models.layer_mix import LayerMix, layer_shares
from models.taxonomy_building import load_taxonomy_model
from utils.model_files import CHECKPOINT


def test_words_of_the_flag():
    assert [parse_layers(words) for words in (["5"], ["8", "3"], ["weighted"])] == [5, (3, 8), "weighted"]
    for words, said in (
        (["x"], "x is not a layer"),
        (["-1"], "-1 is not a layer"),
        (["3", "weighted"], "weighted is not a layer"),
        (["3", "5", "3"], "a layer is given twice in 3 5 3"),
    ):
        with pytest.raises(ValueError, match=said):
            parse_layers(words)


def test_a_bad_word_ends_with_one_line(capsys):
    with pytest.raises(SystemExit) as ended:
        main_train.main(["--ssl_layer", "3", "five"])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "argument --ssl_layer: five is not a layer: give a number, several different numbers, or weighted" in line


def test_the_weighted_mean_of_layers():
    mix = LayerMix(3)
    hidden = torch.randn(2, 3, 7, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix(hidden), hidden.mean(1))  # they start equal
    with torch.no_grad():
        mix.raw.copy_(torch.tensor([0.0, 1.0, 2.0]))
    shares = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64).exp()
    shares /= shares.sum()
    due = sum(share * hidden[:, i].double() for i, share in enumerate(shares))
    torch.testing.assert_close(mix(hidden).double(), due, atol=1e-6, rtol=1e-6)
    (found,) = layer_shares({"layer_weights.raw": mix.raw.detach()}, (3, 5, 8)).values()
    assert list(found) == [3, 5, 8] and list(found.values()) == pytest.approx(shares.tolist())


def test_the_weights_of_layers_learn_and_the_front_end_does_not():
    model = build_model(Config(SSL_path="tiny-random", ssl_layer="weighted", num_classes=3))
    assert isinstance(model, FrontEndModel) and len(model.layer_weights.raw) == 7
    model(torch.randn(2, 64_600))[1].sum().backward()
    assert model.layer_weights.raw.grad.abs().min() > 0
    assert all(weight.grad is None for weight in model.front_end.parameters())
    stored = StoredHiddenStates(64, "digest", model.front_end.record())
    assert len(build_model(Config(num_classes=3), stored).layer_weights.raw) == 7


@pytest.mark.slow
def test_weights_of_layers_are_trained_saved_and_read_back(corpus, tmp_path, capsys):
    path = small_front_end(tmp_path / "wavlm", "wavlm")
    work = ["--data_root", corpus, "--num_workers", 0, "--batch_size", 7, "--SSL_path", path]
    train = [*work, "-o", tmp_path / "model", "--num_epochs", 1, "--lr", 0.05, "--ssl_layer", 3, 1]
    cache = ["--cache_features", tmp_path / "cache"]
    main_train.main([str(word) for word in (*train, *cache)])
    out = capsys.readouterr().out
    assert "front end: hidden states 1, 3 of wavlm, 201 frames of 32; 3 layers are computed" in out
    assert "weights of the layers: 1: 0." in out
    state = torch.load(tmp_path / "model" / CHECKPOINT, weights_only=True)
    assert state["layer_weights.raw"].abs().min() > 0
    about = [json.loads(file.read_text()) for file in (tmp_path / "cache").glob("*/cache.json")]
    assert all(row["shape"] == [2, 201, 32] and row["whole"] for row in about)
    loaded = load_model(tmp_path / "model", Config())  # args.json decides the layers
    assert f"{tmp_path / 'model' / CHECKPOINT}: weights of the layers: 1: 0." in capsys.readouterr().out
    assert torch.equal(loaded.layer_weights.raw, state["layer_weights.raw"]) and loaded.front_end.layers == (1, 3)
    logits = []
    for name, more in (("plain", []), ("cached", cache)):
        out = ["--result", tmp_path / name, "--save_feats", tmp_path / name, "--model_folder", tmp_path / "model"]
        source_tracing_id.main([str(word) for word in (*work, *out, *more)])
        logits.append(torch.load(tmp_path / name / "evaldict_id.pt", weights_only=True)["logits"])
    assert (logits[0] - logits[1]).abs().median() < 1e-3
    folders = ["--model_folder", tmp_path / "model", "--result", tmp_path / "plain", "--save_feats", tmp_path / "plain"]
    report.main([str(word) for word in ("--data_root", corpus, *folders, "--resamples", 0)])
    page = (tmp_path / "plain/report.html").read_text()
    assert "Learned weights of the hidden states" in page
    assert all(f"{share:.3f}" in page for share in loaded.layer_weights.raw.softmax(0).tolist())


@pytest.mark.parametrize("family", ["whisper", "wav2vec2-bert"])
def test_the_second_system_trains_any_family_and_needs_no_folder_later(taxonomy_corpus, tmp_path, family, capsys):
    path = small_front_end(tmp_path / "ssl", family)
    work = ["--data_root", taxonomy_corpus, "--num_workers", 0, "--SSL_path", path, "--lr", 0.01]
    model = ["--model_type", "S_VQ", "--sampling_strategy", "VQ", "-o", tmp_path / "model", "--num_epochs", 1]
    main_train_taxonomy.main([str(word) for word in (*work, *model)])
    assert f"front end: hidden state 3 of {family}, 201 frames of 32" in capsys.readouterr().out
    shutil.rmtree(path)
    loaded = load_taxonomy_model(tmp_path / "model", replace(TaxonomyConfig(), SSL_path="nowhere"))
    assert loaded.ssl_model.family == family and loaded.ssl_model.norm == "none"
    state = torch.load(tmp_path / "model" / CHECKPOINT, weights_only=True)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert loaded(torch.randn(1, 64_600))[1]["vq"].isfinite().all()
