"""What models give: tensors, or tuples and dicts of them."""

import torch


def map_tensors(function, *parts):
    """`function` of the tensors at the same place in each of `parts`: tensors, or tuples or dicts of the same form."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: map_tensors(function, *(part[key] for part in parts)) for key in first}
    if isinstance(first, tuple):
        return tuple(map_tensors(function, *column) for column in zip(*parts, strict=True))
    return function(*parts)


def leaves(outputs):
    """The tensors in `outputs`, a tensor or tuples or dicts of them, as a list."""
    found = []
    map_tensors(found.append, outputs)
    return found


def to_cpu(outputs):
    """`outputs`, a tensor or tuples or dicts of them, as float32 on the CPU."""
    return map_tensors(lambda tensor: tensor.float().cpu(), outputs)


def finite_rows(outputs):
    """bool [n], true for rows without NaN or infinity; `outputs` is a tensor [n, ...], or tuples or dicts of them."""
    rows = [part.isfinite().flatten(1).all(dim=1) for part in leaves(outputs)]
    return torch.stack(rows).all(dim=0)
