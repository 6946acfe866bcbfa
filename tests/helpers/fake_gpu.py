"""A GPU without a GPU: fake tensors on the device cuda, which have a shape, a type and a device, but no values.

An operation on them that meets a tensor on the CPU raises RuntimeError, as it would on a GPU; one that meets a real
tensor, which was left out when the model was moved, raises AssertionError.
"""

from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

PRECISIONS = (torch.float32, torch.bfloat16)


@contextmanager
def fake_gpu():
    """Within it every new tensor is a fake one, and real tensors are refused."""
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield


def to_fake_gpu(module, doubles="cuda"):
    """Put fake tensors on the device cuda in the place of a module's parameters and buffers; gives the module.

    Those of double precision come to the device `doubles`.
    """
    for part in module.modules():
        for name, weight in part._parameters.items():
            if weight is not None:
                fake = torch.empty(weight.shape, dtype=weight.dtype, device="cuda")
                part._parameters[name] = torch.nn.Parameter(fake, weight.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                device = doubles if value.dtype == torch.float64 else "cuda"
                part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device=device)
    return module


class OnlyWhatMpsCan(TorchDispatchMode):
    """Refuses on a fake GPU what that of a Mac cannot do: double precision, and matrix products of complex numbers."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        for tensor in filter(torch.is_tensor, tree_leaves(result)):
            if tensor.device.type == "cuda":
                assert tensor.dtype not in (torch.float64, torch.complex128), operation
                assert "mm" not in operation.__name__ or not tensor.is_complex(), operation
        return result


@contextmanager
def gpu_precision(dtype):
    """torch.autocast of the device cuda in `dtype`; torch.autocast itself does nothing where there is no GPU."""
    torch.set_autocast_dtype("cuda", torch.bfloat16)
    torch.set_autocast_enabled("cuda", dtype != torch.float32)
    try:
        yield
    finally:
        torch.set_autocast_enabled("cuda", False)
        torch.clear_autocast_cache()


def devices_of(outputs):
    """The kinds of devices of `outputs`, a tensor or tuples, lists and dicts of them."""
    if isinstance(outputs, dict):
        return {kind for part in outputs.values() for kind in devices_of(part)}
    if isinstance(outputs, (tuple, list)):
        return {kind for part in outputs for kind in devices_of(part)}
    return {outputs.device.type}
