"""Every model runs on a GPU: with all weights and inputs there, it meets no tensor that was left on the CPU.

No GPU is needed, see helpers/fake_gpu.py. A new row of a registry is tested without a change here.
"""

from dataclasses import replace

import pytest
import torch
from helpers.fake_gpu import PRECISIONS, OnlyWhatMpsCan, devices_of, fake_gpu, gpu_precision, to_fake_gpu
from helpers.front_end_files import small_front_end
from torch import nn

from config import Config
from config_taxonomy import TaxonomyConfig
from data.audio import SAMPLES
from data.taxonomy import Labels
from engine.losses import LOSSES
from engine.objectives import ClassLoss
from engine.outputs import finite_rows, map_tensors, to_cpu
from models import FRONT_ENDS, MODELS, TAXONOMY_MODELS
from models.building import build_model
from models.cpu_layers import use_cpu_layers
from models.front_ends import StoredHiddenStates, build_front_end
from models.sastnet import SAST_TASKS
from models.taxonomy import FORMS
from models.taxonomy_building import build_taxonomy_loss, build_taxonomy_model
from models.wav2vec2_bert import FilterBank
from models.weights import embedding_size

pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
CLIPS = 2
TAXONOMY_CONFIGS = {
    **{form: TaxonomyConfig(model="W2V2AASIST", model_type=form, SSL_path="tiny-random") for form in FORMS},
    **{task: TaxonomyConfig(model="SASTNet", task=task, size="small", no_pretrained=True) for task in SAST_TASKS},
}


def gpu_wave(samples=SAMPLES):
    return torch.randn(CLIPS, samples, device="cuda")


def gpu_labels(classes=2):
    return torch.randint(classes, (CLIPS,), device="cuda")


def run_everywhere(model, *inputs):
    """(training, precision, outputs) of `model` for `inputs`, both on the fake GPU, in both modes and precisions.

    What is done with the outputs is done in that precision, as training takes the loss.
    """
    for training in (True, False):
        model.train(training)
        for dtype in PRECISIONS:
            with gpu_precision(dtype):
                outputs = model(*inputs)
                assert devices_of(outputs) == {"cuda"}
                yield training, dtype, outputs


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    model = build_model(Config(model=name, num_classes=5, SSL_path="tiny-random"))
    with fake_gpu():
        for _, dtype, (features, logits) in run_everywhere(to_fake_gpu(model), gpu_wave()):
            assert features.shape == (CLIPS, embedding_size(model)) and logits.shape == (CLIPS, 5)
            assert logits.dtype == dtype
            for base_loss in LOSSES:
                loss = ClassLoss(Config(base_loss=base_loss))((features, logits), gpu_labels(5))
                assert loss.device.type == "cuda" and loss.shape == ()


@pytest.mark.parametrize("name", [*MODELS, *TAXONOMY_CONFIGS])
def test_models_need_only_what_the_gpu_of_a_mac_can_do(name, monkeypatch):
    monkeypatch.setattr("models.wave_front_end.multiplies_spectra", lambda device: False)  # as on that GPU
    first_system = name in MODELS
    model = (
        build_model(Config(model=name, num_classes=5, SSL_path="tiny-random"))
        if first_system
        else build_taxonomy_model(TAXONOMY_CONFIGS[name])
    )
    with fake_gpu(), OnlyWhatMpsCan():
        to_fake_gpu(model)
        wave = gpu_wave(SAMPLES if first_system else model.samples)
        for training in (True, False):
            assert devices_of(model.train(training)(wave)) == {"cuda"}


def test_every_taxonomy_model_has_a_configuration_here():
    assert {config.model for config in TAXONOMY_CONFIGS.values()} == set(TAXONOMY_MODELS)


@pytest.mark.parametrize("name", TAXONOMY_CONFIGS)
def test_taxonomy_models_and_their_losses(name):
    model = build_taxonomy_model(TAXONOMY_CONFIGS[name])
    with fake_gpu():
        to_fake_gpu(model)
        losses = [training_loss(name, learnable) for learnable in (False, True)]
        for training, dtype, outputs in run_everywhere(model, gpu_wave(model.samples)):
            assert all(logits.dtype == dtype for logits in outputs[1].values())
            assert devices_of(model.scores(outputs[1])) == {"cuda"}
            for loss in losses:
                if training:
                    value = loss(outputs, Labels(*(gpu_labels() for _ in Labels._fields)))
                    assert value.device.type == "cuda" and value.shape == ()
                else:  # of the development set the outputs are gathered on the CPU
                    labels = Labels(*(torch.zeros(CLIPS, dtype=torch.long) for _ in Labels._fields))
                    assert loss.development(to_cpu(outputs), labels).device.type == "cpu"


def training_loss(name, learnable):
    """The loss of a configuration where training puts it: on the GPU where it has parameters, else on the CPU."""
    loss = build_taxonomy_loss(replace(TAXONOMY_CONFIGS[name], learnable_weights=learnable))
    return to_fake_gpu(loss) if any(True for _ in loss.parameters()) else loss


@pytest.mark.parametrize("family", FRONT_ENDS)
@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("norm", ["utterance", "batch", "none"])
def test_front_ends(tmp_path, family, frozen, norm):
    front_end = build_front_end(small_front_end(tmp_path, family), layer=2, norm=norm, frozen=frozen)
    with fake_gpu():
        for training, _, hidden in run_everywhere(to_fake_gpu(front_end), gpu_wave()):
            assert hidden.shape[::2] == (CLIPS, front_end.hidden_size)
            assert hidden.dtype == torch.float32  # in every precision
            assert hidden.requires_grad is not frozen or not training


@pytest.mark.parametrize("family", FRONT_ENDS)
def test_front_ends_need_only_what_the_gpu_of_a_mac_can_do(tmp_path, family, monkeypatch):
    monkeypatch.setattr("models.wave_front_end.multiplies_spectra", lambda device: False)  # as on that GPU
    front_end = build_front_end(small_front_end(tmp_path, family), layer=2)
    with fake_gpu(), OnlyWhatMpsCan():
        assert devices_of(to_fake_gpu(front_end, doubles="cpu")(gpu_wave())) == {"cuda"}


def test_what_needs_double_precision_stays_on_the_cpu(monkeypatch):
    bank, wave = FilterBank(), torch.randn(1, 8000)
    due = bank(wave)
    monkeypatch.setattr("models.wav2vec2_bert.MPS", "meta")  # the name of a device that is here
    assert torch.equal(bank.to("meta")(wave), due)
    monkeypatch.undo()
    assert bank.to("meta").window.is_meta


def test_a_stored_front_end():
    config = Config(model="W2VAASIST", num_classes=3)
    model = build_model(config, StoredHiddenStates(64, "digest"))
    with fake_gpu():
        hidden = torch.randn(CLIPS, 201, 64, device="cuda", dtype=torch.float16)
        for _, dtype, (_, logits) in run_everywhere(to_fake_gpu(model), hidden):
            assert logits.dtype == dtype


def test_outputs_are_gathered_on_the_cpu():
    with fake_gpu():
        outputs = gpu_wave(7), {"bin": gpu_wave(2), "vq": gpu_wave(4).bfloat16()}
        assert finite_rows(outputs).device.type == "cuda"
        gathered = to_cpu(outputs)
        assert devices_of(gathered) == {"cpu"}
        assert gathered[1]["vq"].dtype == torch.float32
        both = map_tensors(lambda *parts: torch.cat(parts), gathered, gathered)
        assert both[1]["bin"].shape == (2 * CLIPS, 2)


# ---- the check itself ------------------------------------------------------------------------------------------------


class ConstantOnTheCpu(nn.Module):
    """Adds a constant that forward() makes on the CPU."""

    def forward(self, wave):
        return wave + torch.ones(wave.shape[1])


class LeftBehind(nn.Module):
    """Adds a constant that is no buffer, so it does not move with the module."""

    def __init__(self):
        super().__init__()
        self.constant = torch.ones(SAMPLES)

    def forward(self, wave):
        return wave + self.constant


def test_a_tensor_on_the_cpu_is_caught():
    with fake_gpu(), pytest.raises(RuntimeError, match="two different devices cuda:0, cpu"):
        list(run_everywhere(ConstantOnTheCpu(), gpu_wave()))
    model = LeftBehind()
    with fake_gpu(), pytest.raises(AssertionError, match="Please convert all Tensors to FakeTensors first"):
        list(run_everywhere(to_fake_gpu(model), gpu_wave()))


def test_outputs_on_the_cpu_are_caught():
    with fake_gpu(), pytest.raises(AssertionError):
        list(run_everywhere(nn.Identity(), torch.ones(2, 3)))


def test_precision_is_in_force():
    """A layer in bfloat16 shows it; torch.autocast itself would leave it in float32 here."""
    layer = nn.Linear(4, 2)
    with fake_gpu():
        precisions = {dtype: out.dtype for _, dtype, out in run_everywhere(to_fake_gpu(layer), gpu_wave(4))}
    assert precisions == {dtype: dtype for dtype in PRECISIONS}


def test_layers_for_the_cpu_do_not_run_on_a_gpu(monkeypatch):
    from models import cpu_layers

    class Unused:
        @staticmethod
        def apply(*_):
            raise AssertionError("a layer for the CPU runs on a GPU")

    for name in ("ChannelsLast", "OneChannel", "Normalise", "Pool"):
        monkeypatch.setattr(cpu_layers, name, Unused)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2))
    use_cpu_layers(layers)
    for layer, channels in zip(layers, (1, 4, 4, 4), strict=True):  # on a CPU they do
        image = torch.randn(CLIPS, channels, 20, 20, requires_grad=True)
        image = image.contiguous(memory_format=torch.channels_last)
        with pytest.raises(AssertionError, match="a layer for the CPU runs"):
            layer(image)
    with fake_gpu():
        list(run_everywhere(to_fake_gpu(layers), torch.randn(CLIPS, 1, 20, 20, device="cuda", requires_grad=True)))
