"""SASTNet: its parts against the released code (tests/fixtures/taxonomy), its whole by its contract."""

import json

import numpy as np
import pytest
import torch
from helpers import FIXTURES, shared

from data.taxonomy import Labels
from models.audiomae import (
    PATCHES,
    AudioMae,
    MaeSize,
    fixed_positions,
    image_patches,
    kept_patches,
    reconstruction_errors,
    reconstruction_loss,
)
from models.cpu_layers import use_cpu_layers
from models.fusion import CrossModalTransformer
from models.random_init import coloured_noise
from models.sastnet import SAST_TASKS, SIZES, SastLoss, SastNet
from models.taxonomy_building import our_names
from models.whisper import WhisperFeatures, log_mel, mel_filters, random_encoder, read_encoder
from models.xlsr import TINY, XlsrFrontEnd
from utils.errors import InputError

FOLDER = FIXTURES / "taxonomy"
MAE = np.load(FOLDER / "small_mae_io.npz")
FUSION = np.load(FOLDER / "small_fusion_io.npz")
META = json.loads((FOLDER / "small_meta.json").read_text())


def relative(found, expected):
    """Largest error, in units of the largest expected value."""
    expected = torch.as_tensor(np.asarray(expected))
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def tensor(name, arrays=MAE):
    return torch.from_numpy(arrays[name])


# ---- autoencoder -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mae():
    """The released code's autoencoder in a small size, with three decoders."""
    model = AudioMae(3, MaeSize(64, 3, 4, 32, 2, 4))
    state = torch.load(FOLDER / "small_mae_3dec_state.pt", weights_only=True)
    model.load_state_dict({name: value for name, value in state.items() if not name.startswith("projection_head.")})
    return model.eval()


@pytest.fixture(scope="module")
def image():
    return tensor("imgs_f16").float()[:, 0]


@torch.no_grad()
def test_training_hides_patches_and_reconstructs_them(mae, image):
    kept = kept_patches(tensor("d3_noise_t"), tensor("d3_noise_f"), 0.4)
    assert kept.shape == (3, 72)
    assert relative(mae.encoder(image, kept), MAE["d3_latent"]) < 1e-5
    tokens, predicted = mae(image, kept)
    assert predicted.shape == (3, 3, 128, 256)
    assert relative(tokens, MAE["d3_attn_out"]) < 1e-5
    errors = reconstruction_errors(image, predicted, kept)
    assert relative(errors, MAE["d3_recon_loss_vec_per_decoder"]) < 1e-5
    loss = reconstruction_loss(errors, tensor("labels"))
    assert loss.item() == pytest.approx(float(MAE["d3_recon_loss"]), rel=1e-5)


@torch.no_grad()
def test_prediction_in_natural_order_and_in_the_released_random_one(mae, image):
    natural = torch.arange(PATCHES).expand(3, -1)
    assert relative(mae(image, natural)[0], MAE["d3_predict_identity_order"]) < 1e-5
    shuffled = tensor("d3_predict_noise").argsort(dim=1)
    assert relative(mae(image, shuffled)[0], MAE["d3_predict_shuffled"]) < 1e-5


def test_patches_and_positions():
    image = tensor("imgs_f16").float()[:, 0]
    assert torch.equal(image_patches(image)[0, :4], tensor("patchify_first"))
    for dim, name in ((768, "full_pos_embed"), (512, "full_decoder_pos_embed")):
        assert relative(fixed_positions(dim)[0, [0, 1, 2, 9, 128]], MAE[f"{name}_rows_0_1_2_9_128"]) < 1e-6


@pytest.mark.parametrize("ratio, kept", [(0.4, 12 * 6), (0.5, 12 * 6), (0.8, 9 * 4)])
def test_a_mask_keeps_whole_rows_and_columns(ratio, kept):
    patches = kept_patches(torch.rand(2, 16), torch.rand(2, 8), ratio)
    assert patches.shape == (2, kept) and (patches.diff(dim=1) > 0).all()
    for row in patches:
        times, bands = {int(p) // 8 for p in row}, {int(p) % 8 for p in row}
        assert len(times) * len(bands) == kept


def test_reconstruction_loss_by_hand():
    errors = torch.tensor([[1.0, 1.05, 3.0], [2.0, 0.5, 0.2]])
    # Clip 1, class 0: 1 + (0.05 + 0) / 2. Clip 2, class 2: 0.2 + (0 + 0) / 2.
    assert reconstruction_loss(errors, torch.tensor([0, 2])).item() == pytest.approx((1.025 + 0.2) / 2)
    assert reconstruction_loss(errors[:, :1], torch.tensor([0, 2])).item() == pytest.approx(1.5)


# ---- fusion and Whisper ----------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("query, expected", [("q", "cross"), ("q_with_zero", "cross_q_with_zero")])
def test_cross_modal_transformer(query, expected):
    model = CrossModalTransformer(32, heads=4).eval()
    state = torch.load(FOLDER / "small_fusion_state.pt", weights_only=True)
    model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()})
    fused = model(tensor(query, FUSION).transpose(0, 1), tensor("kv", FUSION).transpose(0, 1))
    assert relative(fused.transpose(0, 1), FUSION[expected]) < 1e-5


def test_log_mel_is_that_of_whisper():
    from transformers import WhisperFeatureExtractor

    wave = torch.randn(2, 82_200, generator=torch.Generator().manual_seed(1)) * torch.tensor([[0.1], [1e-4]])
    expected = WhisperFeatureExtractor()(list(wave.numpy()), sampling_rate=16_000, return_tensors="pt").input_features
    assert (log_mel(wave, mel_filters()) - expected).abs().max() < 1e-4


@torch.no_grad()
def test_whisper_features():
    folder = shared("fixtures/codecfake_plus/sastnet")
    io = np.load(folder / "tiny_whisper_io.npz")
    sizes = SIZES["small"].whisper
    tiny = json.loads((folder / "whisper_meta.json").read_text())["tiny_config"]
    encoder = random_encoder({name: tiny[name] for name in sizes})
    state = torch.load(folder / "tiny_whisper_encoder_state.pt", weights_only=True)
    state = {name.removeprefix("encoder."): value for name, value in state.items()}
    assert encoder.load_state_dict(state, strict=False).missing_keys == ["embed_positions.weight"]
    wave = tensor("waves", io)
    assert (log_mel(wave, mel_filters())[:, :, :540] - tensor("logmel_first540", io)).abs().max() < 1e-4
    assert relative(WhisperFeatures(encoder)(wave), io["feature"]) < 1e-4


# ---- the whole -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    """A small random SASTNet; the tests leave it in eval mode."""
    torch.manual_seed(0)
    front_end = XlsrFrontEnd(TINY, layer=None, norm="none", frozen=False)
    semantics = WhisperFeatures(random_encoder(SIZES["small"].whisper))
    return use_cpu_layers(SastNet(front_end, semantics, "DEC", SIZES["small"].mae)).eval()


@pytest.fixture(scope="module")
def wave():
    return 0.1 * torch.randn(2, SastNet.samples, generator=torch.Generator().manual_seed(2))


LABELS = Labels(*(torch.tensor([0, 1]) for _ in range(4)))


@torch.no_grad()
def test_prediction_is_the_same_again_and_whatever_the_neighbours(model, wave):
    features, logits = model(wave)
    assert features.shape == (2, 160) and logits["dec"].shape == (2, 3)
    assert torch.equal(model(wave)[1]["dec"], logits["dec"])
    torch.testing.assert_close(model(wave[1:])[1]["dec"], logits["dec"][1:])
    model.shuffled = True
    torch.manual_seed(42)
    first = model(wave)[1]["dec"]
    model.shuffled = False
    assert not torch.allclose(first, logits["dec"])


def test_every_weight_but_whispers_learns(model, wave):
    model.train()
    objective = SastLoss("DEC")
    objective(model(wave), LABELS).backward()
    assert not any(part.training for part in model.whisper.encoder.modules())
    without = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("whisper.")}
    assert objective.params.grad.abs().min() > 0
    model.zero_grad(set_to_none=True)
    model.eval()


def test_half_precision_trains(model, wave):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(wave)
        loss = SastLoss("DEC")(outputs, LABELS)
    assert outputs[2].dtype == torch.float32 and loss.isfinite()
    loss.backward()
    assert all(weight.grad.isfinite().all() for weight in model.parameters() if weight.grad is not None)
    model.zero_grad(set_to_none=True)
    model.eval()


def test_a_whisper_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nobody/whisper is not here and cannot be fetched .*: give --Whisper_path"):
        read_encoder("nobody/whisper")
    with pytest.raises(InputError, match="is no Whisper model that can be read"):
        read_encoder(tmp_path)


def test_automatic_weighting():
    expected = META["awl"]
    objective = SastLoss("AUX")
    losses = torch.tensor(expected["losses"])
    assert objective.combine(losses).item() == pytest.approx(expected["params_1_1"], abs=1e-6)
    objective.params.data = torch.tensor([0.8, 1.25])
    loss = objective.combine(losses)
    assert loss.item() == pytest.approx(expected["params_0.8_1.25"], abs=1e-6)
    loss.backward()
    assert objective.params.grad.tolist() == pytest.approx(expected["grad_0.8_1.25"], abs=1e-6)


def test_the_full_size_has_the_released_keys_and_parameters():
    """Without the layers that have no effect: their keys are dropped on loading."""
    size = SIZES["full"]
    with torch.device("meta"):
        parts = {"MAE.": AudioMae(1, size.mae), "at_transformer.": CrossModalTransformer()}
        whole = AudioMae(4, size.mae)
        whisper = random_encoder(size.whisper)
    for (name, part), released in zip(parts.items(), ("full_mae_keys", "full_fusion_keys"), strict=True):
        released = our_names({name + key: tuple(shape) for key, shape in META[released].items()})
        assert {name + key: tuple(value.shape) for key, value in part.state_dict().items()} == released

    def count(module):
        return sum(value.numel() for value in module.state_dict().values())

    released = META["full_mae_params_4_decoders"]
    assert count(whole) == released["total"] - released["projection_head"]
    assert count(parts["at_transformer."]) == META["full_fusion_params_each"]
    assert count(whisper) == 88_154_112


def test_tasks_weigh_each_of_their_classes():
    from data.taxonomy import TAXONOMY_CLASSES

    assert sorted(row.task for row in SAST_TASKS.values()) == sorted(TAXONOMY_CLASSES)
    assert all(len(row.weights) == len(TAXONOMY_CLASSES[row.task]) for row in SAST_TASKS.values())


def test_a_random_front_end_keeps_what_tells_clips_apart():
    """Noises of different tilt differ in a good part of what the random Whisper and XLS-R make of them."""
    clips = coloured_noise(6, 16_000)
    front_end = XlsrFrontEnd(TINY, layer=None, norm="none").eval()
    with torch.no_grad():
        hidden = front_end(clips)
        semantics = random_encoder(SIZES["small"].whisper)(log_mel(clips, mel_filters())).last_hidden_state[:, :50]
    for states in (hidden, semantics):
        assert states.var(dim=0).mean() > 0.25 * states.square().mean()
