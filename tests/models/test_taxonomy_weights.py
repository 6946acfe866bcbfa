"""Released and pretrained weights of the taxonomy system, on small models saved as the released code saves them."""

from dataclasses import replace

import pytest
import torch
from helpers import FIXTURES

from config_taxonomy import TaxonomyConfig
from models.cpu_layers import use_cpu_layers
from models.fairseq_checkpoint import stand_in
from models.sastnet import SIZES
from models.taxonomy import FORMS, W2v2Aasist
from models.taxonomy_building import build_taxonomy_model, load_taxonomy_model
from models.weights import load_file
from models.whisper import random_encoder
from models.xlsr import XlsrFrontEnd
from utils.errors import InputError, MissingInput

FAIRSEQ = FIXTURES / "xlsr/tiny_xlsr_cfg_dict.pt"


def released(state, prefix):
    """`state` as the released code saves it: XLS-R under fairseq's names, with parts that only pre-training uses."""
    back_end = {name: value for name, value in state.items() if not name.startswith(f"{prefix}.")}
    fairseq = load_file(FAIRSEQ, stand_in)["model"]
    return back_end | {f"{prefix}.model.{name}": value for name, value in fairseq.items()}


@pytest.mark.parametrize("form", FORMS)
def test_released_w2v2_aasist_weights_tell_what_they_are(form, tmp_path, capsys):
    model = use_cpu_layers(W2v2Aasist(XlsrFrontEnd(str(FAIRSEQ), layer=None, norm="none", frozen=False), form)).eval()
    state = released(model.state_dict(), "ssl_model")
    state["encoder.1.0.bn1.weight"] = torch.ones(32)
    path = tmp_path / "any_name.pth"
    torch.save(state, path)
    loaded = load_taxonomy_model(path, TaxonomyConfig())
    assert f"any_name.pth: W2V2AASIST {form}" in capsys.readouterr().out
    wave = torch.randn(1, 16_000)
    with torch.no_grad():
        for task, logits in model(wave)[1].items():
            assert torch.equal(loaded(wave)[1][task], logits)
    other = "M1" if form != "M1" else "M2"
    with pytest.raises(InputError, match=f"holds a model of --model_type {form}, not {other}"):
        load_taxonomy_model(path, TaxonomyConfig(model_type=other))


def test_released_sastnet_weights(tmp_path, capsys):
    config = TaxonomyConfig(model="SASTNet", task="AUX", size="small", no_pretrained=True)
    model = build_taxonomy_model(config).eval()
    state = released(model.state_dict(), "SSL_model")
    for name in ("at_transformer.version", "ta_transformer.embed_positions._float_tensor", "whisper.decoder.x.weight"):
        state[name] = torch.ones(1)
    state["MAE.projection_head.fc1.weight"] = torch.ones(512, 64)
    path = tmp_path / "SAST_Net_AUX.pth"
    torch.save(state, path)
    loaded = load_taxonomy_model(path, TaxonomyConfig())
    assert "SAST_Net_AUX.pth: SASTNet AUX" in capsys.readouterr().out
    assert loaded.task == "aux" and load_taxonomy_model(path, TaxonomyConfig(task="VQ")).task == "vq"
    with pytest.raises(InputError, match="knows 4 classes: pass --task VQ or AUX"):
        load_taxonomy_model(path, TaxonomyConfig(task="DEC"))
    path = path.rename(tmp_path / "mine.pth")
    with pytest.raises(InputError, match="knows 4 classes: pass --task VQ or AUX"):
        load_taxonomy_model(path, TaxonomyConfig())
    assert torch.equal(loaded.MAE.attn.in_proj_weight, model.MAE.attn.in_proj_weight)


def test_sastnet_starts_from_its_pretrained_files(tmp_path, monkeypatch):
    config = TaxonomyConfig(
        model="SASTNet",
        task="DEC",
        SSL_path=str(FAIRSEQ),
        MAE_path=tmp_path / "mae.pth",
        tuned_weight=tmp_path / "w.pth",
    )
    donor = build_taxonomy_model(replace(config, size="small", no_pretrained=True, tuned_weight=None))
    monkeypatch.setitem(SIZES, "full", SIZES["small"])
    monkeypatch.setattr("models.sastnet_builder.read_encoder", lambda path: random_encoder(SIZES["small"].whisper))
    with pytest.raises(MissingInput, match=r"w\.pth does not exist: it holds the weights of a trained W2V2AASIST"):
        build_taxonomy_model(config)
    with pytest.raises(MissingInput, match=r"mae\.pth does not exist: it holds the weights of AudioMAE"):
        build_taxonomy_model(replace(config, tuned_weight=None))

    encoder = donor.MAE.encoder.state_dict()
    decoder = donor.MAE.all_decoders[1].state_dict()
    swin = {"decoder_blocks.0.attn.tau": torch.ones(4), "decoder_blocks.15.norm1.weight": torch.ones(32)}
    torch.save({"model": decoder | encoder | swin}, config.MAE_path)
    front_end = {f"ssl_model.model.{k}": v + 1 for k, v in load_file(FAIRSEQ, stand_in)["model"].items()}
    torch.save(front_end | {"LL.weight": torch.ones(128, 64)}, config.tuned_weight)
    model = build_taxonomy_model(config)
    assert torch.equal(model.MAE.encoder.cls_token, encoder["cls_token"])
    for part in model.MAE.all_decoders:
        assert torch.equal(part.decoder_pred.weight, decoder["decoder_pred.weight"])
        assert not torch.equal(part.decoder_embed.weight, decoder["decoder_embed.weight"])
    assert not torch.equal(model.MAE.encoder.patch_embed.proj.bias, encoder["patch_embed.proj.bias"] + 1)
    plain = XlsrFrontEnd(str(FAIRSEQ), layer=None, norm="none", frozen=False).model.state_dict()
    bias = "feature_projection.projection.bias"
    assert torch.equal(model.SSL_model.model.state_dict()[bias], plain[bias] + 1)

    del decoder["decoder_norm.weight"]
    torch.save({"model": decoder | encoder}, config.MAE_path)
    with pytest.raises(InputError, match=r"mae\.pth: decoder_norm\.weight is missing"):
        build_taxonomy_model(config)


def test_a_small_sastnet_starts_from_a_trained_front_end(tmp_path):
    trained = build_taxonomy_model(TaxonomyConfig(model_type="S_VQ", SSL_path="tiny-random"))
    path = tmp_path / "trained.pt"
    torch.save(trained.state_dict(), path)
    config = TaxonomyConfig(model="SASTNet", task="VQ", size="small", no_pretrained=True, tuned_weight=path)
    for name, value in build_taxonomy_model(config).SSL_model.state_dict().items():
        assert torch.equal(value, trained.ssl_model.state_dict()[name]), name
