"""Maps that lie channels last: the values and gradients of the plain layers, in double precision to rounding."""

import pytest
import torch
from torch import nn

from models.cpu_layers import BatchNorm2d, Conv2d, MaxPool2d
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
    found, expected = gradients(layer, image, weights), gradients(plain, image, weights)
    for one, other in zip(found, expected, strict=True):
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
