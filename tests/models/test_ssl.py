"""XLS-R: the hidden states of the released systems, whatever the kind of file that they are read from.

Numbers were made with the released code and with fairseq 0.12.2 (tests/fixtures/xlsr).
"""

import numpy as np
import pytest
import torch
from helpers import FIXTURES, shared
from helpers.xlsr_files import FAIRSEQ, FOLDER, TINY, changed_folder, old_name, pretraining
from safetensors.torch import load_file

from config import Config
from models.building import load_model
from models.front_ends import FrontEndModel
from models.w2v_aasist import W2vAasistBackEnd
from models.wave_front_end import Extractor, PositionCode
from models.xlsr import XlsrFrontEnd
from utils.model_files import CHECKPOINT


@pytest.fixture(scope="module", params=["safetensors", "pretraining", "published pretraining"])
def folder(request, tmp_path_factory):
    if request.param == "published pretraining":
        return shared("fixtures", "st_codecfake", "tiny_xlsr_pretraining")
    return TINY if request.param == "safetensors" else pretraining(tmp_path_factory.mktemp("hub") / "xlsr")


@pytest.fixture(scope="module")
def wave():
    return torch.load(FIXTURES / "st_codecfake/inputs_wave.pt", weights_only=True)["wave"]


@pytest.fixture(scope="module")
def expected():
    return torch.load(FOLDER / "tiny_xlsr_io.pt", weights_only=True)


def assert_hidden(found, expected):
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_hidden_states_of_the_released_front_end(folder, wave, expected):
    assert_hidden(XlsrFrontEnd(folder)(wave), expected["hidden5_each_alone"])
    batch = XlsrFrontEnd(folder, norm="batch")
    assert_hidden(batch(wave), expected["hidden5_batch3"])
    assert_hidden(batch(wave[:2]), expected["hidden5_batch_of_first2"])


@pytest.mark.parametrize("layer, name", [(0, "hidden0_batch3"), (8, "hidden8_batch3"), (None, "hidden8_batch3")])
def test_first_and_last_hidden_state_of_the_released_front_end(folder, wave, expected, layer, name):
    assert_hidden(XlsrFrontEnd(folder, layer, "batch")(wave)[:, ::20], expected[name])


@pytest.mark.parametrize("file", FAIRSEQ)
def test_outputs_of_fairseq(file):
    assert_outputs_of_fairseq(FOLDER / file)


def test_outputs_of_fairseq_from_a_file_with_optimizer_state():
    assert_outputs_of_fairseq(shared("fixtures", "codecfake_plus", "fairseq_tiny", "tiny_xlsr_fairseq0122.pt"))


def assert_outputs_of_fairseq(path):
    outputs = np.load(FOLDER / "tiny_xlsr_outputs.npz")
    front_end = XlsrFrontEnd(path, layer=None, norm="none")
    assert front_end.hidden_size == 64
    waves = {name: torch.from_numpy(outputs[f"wave_{name}"])[None] for name in ("a64600", "b82200", "c16000")}
    waves["batch2"] = torch.cat([waves["c16000"], waves["a64600"][:, :16000]])
    for name, wave in waves.items():
        due = torch.from_numpy(outputs[f"x_{name}"]).view(len(wave), -1, 64)
        assert (front_end(wave) - due).norm() < 1e-5 * due.norm(), name


@pytest.mark.parametrize("layer", [1, 2, 3, 4])
def test_hidden_states_of_fairseq_before_the_final_norm(layer):
    outputs = np.load(FOLDER / "tiny_xlsr_outputs.npz")
    front_end = XlsrFrontEnd(FOLDER / FAIRSEQ[0], layer, "none")
    if layer == 4:
        front_end.model.encoder.layer_norm = torch.nn.Identity()
    hidden = front_end(torch.from_numpy(outputs["wave_c16000"])[None])[0]
    due = torch.from_numpy(outputs[f"c16000_layer{layer - 1}"])
    assert (hidden - due).norm() < 1e-5 * due.norm()


@pytest.mark.parametrize("seconds", [0.1, 1, 3.7])
@pytest.mark.parametrize("device", ["cpu", "mps"])
def test_convolutions_equal_those_of_transformers(seconds, device, monkeypatch):
    from transformers import Wav2Vec2Model

    plain = Wav2Vec2Model.from_pretrained(TINY).eval().double()
    parts = plain.feature_extractor, plain.encoder.pos_conv_embed
    if device == "mps":  # computes in another way
        monkeypatch.setattr("models.wave_front_end.multiplies_spectra", lambda _: False)
    wave = torch.randn(2, int(16_000 * seconds), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(Extractor(parts[0])(wave), parts[0](wave), rtol=1e-12, atol=1e-12)
        hidden = plain.feature_projection(parts[0](wave).transpose(1, 2))[0]
        ours = PositionCode(parts[1])
        torch.testing.assert_close(ours(hidden), parts[1](hidden), rtol=1e-12, atol=1e-12)
        parts[1].conv.parametrizations.weight.original0 *= 2  # kept spectra must not outlive their weights
        torch.testing.assert_close(ours(hidden), parts[1](hidden), rtol=1e-12, atol=1e-12)


def test_truncation_changes_no_bit(wave):
    from transformers import Wav2Vec2Model

    full = Wav2Vec2Model.from_pretrained(TINY, attn_implementation="sdpa").eval()
    full.feature_extractor = Extractor(full.feature_extractor)
    full.encoder.pos_conv_embed = PositionCode(full.encoder.pos_conv_embed)
    with torch.no_grad():
        output = full(wave, output_hidden_states=True)
    hidden = [*output.hidden_states[:8], output.last_hidden_state]  # transformers 5 lists the last one without its norm
    for layer in range(9):
        front_end = XlsrFrontEnd(TINY, layer, norm="none")
        assert len(front_end.model.encoder.layers) == layer
        assert front_end.model.config._attn_implementation == "sdpa"
        assert torch.equal(front_end(wave), hidden[layer]), layer


def test_an_utterance_does_not_depend_on_its_neighbours(wave):
    front_end = XlsrFrontEnd(TINY)
    torch.testing.assert_close(front_end(wave)[1:2], front_end(wave[1:2]), atol=1e-4, rtol=0)
    louder = front_end(wave * 3 + 0.1)
    torch.testing.assert_close(louder, front_end(wave), atol=5e-3, rtol=0)  # 1e-7 beside a variance of 1e-4


def test_frozen_takes_no_gradient_and_stays_in_eval_mode(wave):
    front_end = XlsrFrontEnd(TINY, dropout=0.5, layerdrop=0.5)
    before = front_end(wave)
    assert front_end.train() is front_end
    assert front_end.training
    assert not any(part.training for part in front_end.model.modules())
    assert torch.equal(front_end(wave), before)
    assert not before.requires_grad
    assert not any(weight.requires_grad for weight in front_end.parameters())


def test_every_parameter_learns_when_not_frozen(wave):
    front_end = XlsrFrontEnd(TINY, layer=None, norm="none", frozen=False)
    assert all(part.training for part in front_end.modules())
    hidden = front_end(wave)
    hidden.square().mean().backward()
    assert [name for name, weight in front_end.named_parameters() if not weight.grad.any()] == []
    torch.testing.assert_close(front_end.eval()(wave), hidden)  # neither dropout nor SpecAugment
    assert not any(part.training for part in front_end.modules())


@pytest.mark.parametrize("options", [{"dropout": 0.1}, {"layerdrop": 0.9}])
def test_dropout_and_layerdrop_are_a_choice(wave, options):
    front_end = XlsrFrontEnd(TINY, frozen=False, **options)
    torch.manual_seed(0)
    assert not torch.allclose(front_end(wave), front_end.eval()(wave), atol=0.1)


def test_hidden_states_are_float32_in_mixed_precision(wave):
    front_end = XlsrFrontEnd(TINY)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = front_end(wave)
    assert hidden.dtype == torch.float32
    assert 1e-4 < (hidden - front_end(wave)).abs().max() < 1  # of 22


def test_half_precision_weights_are_computed_with_in_float32(tmp_path, wave):
    half = {name: value.half() for name, value in load_file(TINY / "model.safetensors").items()}
    front_end = XlsrFrontEnd(changed_folder(tmp_path, state=half))
    assert {weight.dtype for weight in front_end.parameters()} == {torch.float32}
    torch.testing.assert_close(front_end(wave), XlsrFrontEnd(TINY)(wave), atol=0.2, rtol=0)


def test_tiny_random_is_the_same_whatever_was_drawn_before(wave):
    torch.manual_seed(1)
    first = XlsrFrontEnd("tiny-random")
    after = torch.rand(3)
    torch.manual_seed(2)
    second = XlsrFrontEnd("tiny-random", layer=6)
    hidden = first(wave)
    assert hidden.shape == (3, 201, first.hidden_size)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), after)
    assert hidden.isfinite().all()
    assert hidden[0].std(0).min() > 0.01  # it tells frames apart


def test_reading_weights_draws_no_random_number():
    torch.manual_seed(1)
    due = torch.rand(3)
    torch.manual_seed(1)
    XlsrFrontEnd(TINY)
    assert torch.equal(torch.rand(3), due)


# Trained models that hold their front end, all layers of it


@pytest.mark.parametrize("name", [str, old_name])
def test_a_published_model_with_all_layers(tmp_path, capsys, wave, expected, name):
    torch.manual_seed(0)
    whole = FrontEndModel(XlsrFrontEnd("tiny-random", layer=0), W2vAasistBackEnd(7, 64)).state_dict()
    back_end = {key: value for key, value in whole.items() if key.startswith("w2vaasist.")}
    front_end = {f"wav2vec2.model.{key}": value for key, value in load_file(TINY / "model.safetensors").items()}
    path = tmp_path / CHECKPOINT
    torch.save({name(key): value for key, value in (front_end | back_end).items()}, path)

    other = changed_folder(tmp_path / "other", state={"feature_projection.projection.bias": torch.ones(64)})
    model = load_model(tmp_path, Config(model="W2VAASIST", SSL_path=str(other)))
    said, _, ignored = capsys.readouterr().out.strip().partition(": ignored layers without effect: ")
    assert said == str(path)
    unused = ("masked_spec_embed", "encoder.layer_norm", "encoder.layers.5", "encoder.layers.6", "encoder.layers.7")
    assert sorted(ignored.split(", ")) == sorted(f"wav2vec2.model.{layer}" for layer in unused)
    with torch.no_grad():
        assert_hidden(model.wav2vec2(wave), expected["hidden5_each_alone"])
        features, logits = model(wave)
    assert (features.shape, logits.shape) == ((3, 160), (3, 7))


def test_older_names_of_weight_norm_load_without_our_help():
    front_end = XlsrFrontEnd(TINY)
    due = {name: value.clone() for name, value in front_end.state_dict().items()}
    for value in front_end.parameters():
        value.zero_()
    front_end.load_state_dict({old_name(name): value for name, value in due.items()})
    assert all(torch.equal(value, due[name]) for name, value in front_end.state_dict().items())
