"""Tensors from files: checked by name, type, shape and values before they are used."""

import hashlib

import torch

from utils.errors import InputError
from utils.reading import shown

KINDS = {
    "real": (torch.float16, torch.bfloat16, torch.float32, torch.float64),
    "integer": (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
}


def check_plain(value):
    """Raise InputError, which says what it is, for all but a dense tensor whose data is there."""
    if not torch.is_tensor(value):
        raise InputError(f"of the type {type(value).__name__}")
    if value.is_nested or value.is_meta or value.is_quantized or value.layout != torch.strided:
        raise InputError("nested, without data, quantised or sparse")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError("larger than its data")


def kind_of(value):
    """`real` or `integer` of a plain tensor whose data is there; of everything else, what it is in words."""
    try:
        check_plain(value)
    except InputError as what:
        return str(what)
    return next((kind for kind, types in KINDS.items() if value.dtype in types), f"of {value.dtype}")


def described(value):
    """A tensor, or what stands in its place, in words."""
    kind = kind_of(value)
    return f"{kind} {list(value.shape)}" if kind in KINDS else kind


def content_digest(value):
    """SHA-256, in hex, of nested dicts and lists of tensors and plain values, in their order.

    Raises InputError for a tensor that is not plain.
    """
    digest = hashlib.sha256()

    def add(value):
        if torch.is_tensor(value):
            try:
                check_plain(value)
            except InputError as what:
                raise InputError(f"it holds a tensor that is {what}, expected a plain one") from None
            digest.update(f"{value.dtype}{list(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        elif isinstance(value, (dict, list, tuple)):
            digest.update(f"{type(value).__name__}{len(value)}".encode())
            for part in value.items() if isinstance(value, dict) else value:
                add(part)
        else:
            digest.update(repr(value).encode())

    add(value)
    return digest.hexdigest()


def tensors_digest(tensors):
    """content_digest() of {name: tensor} in any order."""
    return content_digest(dict(sorted(tensors.items())))


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
            pairs = list(zip(shape, value.shape, strict=True))
            sizes = {size: number for size, number in pairs if isinstance(size, str)} | sizes
            right = all(number and number == sizes.get(size, size) for size, number in pairs)
        if not right:
            wanted = ", ".join(f"{size} = {sizes[size]}" if sizes.get(size) else str(size) for size in shape)
            raise InputError(f"{name} is {described(value)}, expected {kind.replace('class', 'integer')} [{wanted}]")
        if kind == "real" and finite and not value.isfinite().all():
            raise InputError(f"{name} holds values that are NaN or infinite")
        if kind == "class" and not 0 <= value.min() <= value.max() < sizes["classes"]:
            found = f"{shown(value.min().item())} to {shown(value.max().item())}"
            raise InputError(f"{name} are {found}, expected classes from 0 to {sizes['classes'] - 1}")
    return sizes
