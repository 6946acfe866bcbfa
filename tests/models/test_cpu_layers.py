"""Maps that lie channels last: the values and gradients of the plain layers, in double precision to rounding."""

import pytest
import torch
from torch import nn

from data.audio import SAMPLES
from models import MODELS, resolve_class
from models.building import build_network
from models.cpu_layers import CPU_LAYERS, BatchNorm2d, Conv2d, MaxPool2d, use_cpu_layers
from models.lcnn import MaxFeatureMap


def gradients(layer, image, weights):
    """Output of a layer, and the gradients of its weighted sum by the image and by the layer's parameters."""
    image = image.clone().requires_grad_()
    out = layer(image)
    return out, *torch.autograd.grad((out * weights).sum(), [image, *layer.parameters()])


def assert_same(layer, plain, image):
    plain.load_state_dict(layer.state_dict())
    with torch.no_grad():
        weights = torch.rand_like(plain.eval()(image))
    plain.train()
    ours = gradients(layer, image, weights)
    expected = gradients(plain, image, weights)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.fixture
def image():
    torch.manual_seed(0)
    return torch.randn(3, 6, 9, 31, dtype=torch.float64).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("channels", [1, 6])
@pytest.mark.parametrize(
    "kernel, padding", [((2, 3), (1, 1)), ((2, 3), (0, 1)), ((1, 3), (0, 1)), (5, 2), (3, 1), (1, 0)]
)
def test_convolution(image, channels, kernel, padding):
    layer, plain = (kind(channels, 8, kernel, padding=padding).double() for kind in (Conv2d, nn.Conv2d))
    assert_same(layer, plain, image[:, :channels])
    assert layer(image[:, :channels]).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(1, 2), (1, 3), (2, 2), (3, 2)])
def test_pooling(image, size):
    assert_same(MaxPool2d(size), nn.MaxPool2d(size), image)


def test_pooled_max_feature_map(image):
    """mel-LCNN pools before its max-feature-map, the paper after it."""
    assert_same(nn.Sequential(MaxPool2d(2), MaxFeatureMap()), nn.Sequential(MaxFeatureMap(), nn.MaxPool2d(2)), image)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(image, affine):
    layer, plain = (kind(6, affine=affine).double() for kind in (BatchNorm2d, nn.BatchNorm2d))
    assert_same(layer, plain, image)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(layer.state_dict()[name], value, msg=name)
    torch.testing.assert_close(layer.eval()(image), plain.eval()(image))


def test_batch_norm_of_powers_is_exact_in_single_precision(image):
    power = torch.exp(4 * torch.randn(2, 6, 100, 500)).contiguous(memory_format=torch.channels_last)
    expected = nn.BatchNorm2d(6).double()(power.double())
    torch.testing.assert_close(BatchNorm2d(6)(power).double(), expected, rtol=1e-5, atol=1e-5)


# ---- replacing the plain layers -------------------------------------------------------------------------------------

INPUTS = {"Rawaasist": (8000,), "W2VAASIST": (60, 16), "mellcnn": (SAMPLES,)}
# Convolutions that stay plain
PLAIN_CONVOLUTIONS = {"W2VAASIST": {"attention.0", "attention.3"}}


def plain_network(name):
    """The network of --model `name` as its file writes it, with the weights of seed 0."""
    torch.manual_seed(0)
    row = MODELS[name]
    return resolve_class(row.network)(*((3, 16) if row.needs_front_end else (3,)))


@pytest.mark.parametrize("name", INPUTS)
def test_replacing_keeps_every_tensor_and_the_outputs(name):
    plain = plain_network(name)
    network = plain_network(name)
    before = {key: id(value) for key, value in network.state_dict(keep_vars=True).items()}
    assert use_cpu_layers(network) is network
    assert {key: id(value) for key, value in network.state_dict(keep_vars=True).items()} == before
    signal = torch.randn(2, *INPUTS[name], dtype=torch.float64)
    for training in (False, True):
        outputs = []
        for part in (plain, network):
            torch.manual_seed(1)
            outputs.append(torch.cat(part.double().train(training)(signal), dim=1))
        torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-11)
    expected, ours = (
        torch.autograd.grad(out.square().sum(), [*part.parameters()])
        for out, part in zip(outputs, (plain, network), strict=True)
    )
    rounding = 1e-12 * max(float(grad.abs().max()) for grad in expected)  # a bias before a norm has no gradient
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=rounding)


@pytest.mark.parametrize("name", INPUTS)
def test_every_layer_that_can_be_replaced_is(name):
    network = build_network(name, 3, 16)
    plain = {key for key, layer in network.named_modules() if type(layer) in CPU_LAYERS}
    assert plain == PLAIN_CONVOLUTIONS.get(name, set())
    assert any(isinstance(layer, Conv2d) for layer in network.modules())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, stride=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, bias=False),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
        nn.BatchNorm2d(4, momentum=None),
        nn.BatchNorm2d(4, track_running_stats=False),
        nn.MaxPool2d(3, stride=1),
        nn.MaxPool2d(2, padding=1),
        nn.MaxPool2d(2, dilation=2),
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d((2, 200)),
    ],
    ids=str,
)
def test_a_layer_of_another_form_stays_plain(layer):
    kind = type(layer)
    assert kind in CPU_LAYERS
    assert type(use_cpu_layers(nn.Sequential(layer))[0]) is kind


def test_pooling_of_images_without_a_batch(image):
    layer = use_cpu_layers(nn.Sequential(nn.MaxPool2d(2)))
    single = image[0].requires_grad_()
    assert isinstance(layer[0], MaxPool2d)
    assert torch.equal(layer(single), nn.MaxPool2d(2)(single))
