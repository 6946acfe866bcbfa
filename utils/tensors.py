"""Tensors from files: checked by name, type, shape and values before they are used."""

import torch

from utils.errors import InputError
from utils.reading import shown

KINDS = {
    "real": (torch.float16, torch.bfloat16, torch.float32, torch.float64),
    "integer": (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}


def kind_of(value):
    """`real` or `integer` of a plain tensor whose data is there; of everything else, what it is in words."""
    if not torch.is_tensor(value):
        return f"of the type {type(value).__name__}"
    if value.is_nested or value.is_meta or value.is_quantized or value.layout != torch.strided:
        return "nested, without data, quantised or sparse"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return "larger than its data"
    return next((kind for kind, types in KINDS.items() if value.dtype in types), f"of {value.dtype}")


def described(value):
    """A tensor, or what stands in its place, in words."""
    kind = kind_of(value)
    return f"{kind} {list(value.shape)}" if kind in KINDS else kind


def check_tensors(tensors, expected, finite=True, **sizes):
    """The numbers {name: number} of the sizes of `tensors`, {name: tensor}, which must be those that are `expected`.

    `expected` is {name: (kind, size, ...)}. The kind is real, integer, or class: integers from 0 that are smaller than
    the size "classes". A size is a number, or a name that stands for the same number everywhere; `sizes` has numbers
    that are known before. Raises InputError for an absent or empty tensor, another kind or size, real numbers that are
    NaN or infinite (unless `finite` is False), and what is no class.
    """
    for name, (kind, *shape) in expected.items():
        value = tensors.get(name)
        if value is None:
            raise InputError(f"it has no tensor {name}")
        right = kind_of(value) == ("integer" if kind == "class" else kind) and value.ndim == len(shape)
        if right:
            sizes |= {size: number for size, number in zip(shape, value.shape, strict=True) if size not in sizes}
            right = all(
                number and number == sizes.get(size, size) for size, number in zip(shape, value.shape, strict=True)
            )
        if not right:
            wanted = ", ".join(f"{size} = {sizes[size]}" if sizes.get(size) else str(size) for size in shape)
            raise InputError(f"{name} is {described(value)}, expected {kind.replace('class', 'integer')} [{wanted}]")
        if kind == "real" and finite and not value.isfinite().all():
            raise InputError(f"{name} holds values that are NaN or infinite")
        if kind == "class" and not 0 <= value.min() <= value.max() < sizes["classes"]:
            found = f"{shown(value.min().item())} to {shown(value.max().item())}"
            raise InputError(f"{name} are {found}, expected classes from 0 to {sizes['classes'] - 1}")
    return sizes
