"""Mutations of files that know the structure: of trees (JSON), rows of fields (text) and tensors; and of plain bytes.

Each function takes `rng`, a random.Random of hypothesis, which shrinks what it chose.
"""

import io
import json
import os
import pickle

import torch
from safetensors.torch import save

NUMBERS = (
    *(0, 1, -1, 2, 7, 255, 2**31, 2**62, 2**63, -(2**63) - 1, 10**30, 10**400, True, False),
    *(0.0, -0.0, 0.5, 1.0, 1 + 1e-7, 2.5, -1e-9, 5e-324, 1e-320, 1e-30, 1e30, 1.7e308),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *(
        "",
        " ",
        "\t",
        "-",
        "a",
        "real",
        "fake",
        "bonafide",
        "spoof",
        "REAL",
        "MVQ",
        "mimi",
        "a.wav",
        "../a.wav",
        "/",
        ".",
    ),
    *("0", "1", "-1", "+1", "01", "1.0", "1e0", "1_0", "0x1", "7", "1000", "9" * 30, "9" * 5000, "nan", "inf", "-inf"),
    *("1e-320", "1e999", "٣", "²", "é", "e\u0301", "\u2028", "\u200b", "\x00", "\x1b[31m", "\r", "\x85", "\ufeff"),
    *("'", '"', '""', '"a', ",", ";", "|", "=1+1", "\\", "x" * 300, "x" * 140_000, "\U0001f600", "null", "true", "{}"),
)
ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp037")
PARTS = (b"\n", b"\r", b" ", b"\t", b'"', b",", b"\x00", b"\xff", b"\xff\xff\xff\xff", b"nan", b"-1", b"1e999", b"}")


class Code:
    """What makes the folder `canary` where it is unpickled without care."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def several(rng):
    """How many mutations; what hypothesis tries first, the first of all choices, is the whole file."""
    return rng.choice((0, 1, 1, 1, 2, 3))


def mutated_bytes(rng, content):
    """`content` cut, overwritten or stretched at a few places; the header, which is believed most, as often as all."""
    content = bytearray(content)
    for _ in range(several(rng)):
        start = rng.randint(0, min(len(content), rng.choice((64, len(content)))))
        removed = rng.choice((0, 1, 1, 4, len(content)))
        content[start : start + removed] = rng.choice((*PARTS, b"", bytes([rng.randint(0, 255)])))
    return bytes(content)


# ---- trees -----------------------------------------------------------------------------------------------------------


def wild_value(rng):
    """Any value of JSON."""
    kind = rng.choice("nnnttlo0")
    if kind == "n":
        return rng.choice(NUMBERS)
    if kind == "t":
        return rng.choice((*TEXTS, "\ud800"))
    if kind == "l":
        return [wild_value(rng) for _ in range(rng.randint(0, 2))]
    return {rng.choice(TEXTS): rng.choice(NUMBERS)} if kind == "o" else None


def places(tree):
    """[(container, key)] of every value in nested dicts and lists."""
    keys = list(tree) if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    return [place for key in keys for place in ((tree, key), *places(tree[key]))]


def mutated_tree(rng, tree):
    """`tree`, changed in place: values of other types, ranges, lengths and places; keys that are absent or new."""
    for _ in range(several(rng)):
        inside = places(tree)
        if not inside:
            return wild_value(rng)
        container, key = rng.choice(inside)
        value = container[key]
        change = rng.choice(("wild", "wild", "near", "remove", "add", "copy", "length", "nest"))
        if change == "wild":
            container[key] = wild_value(rng)
        elif change == "near" and type(value) in (int, float):
            container[key] = rng.choice((-value, value + 1, value * 1000, value // 2, str(value)))
        elif change == "remove":
            del container[key]
        elif change == "add" and isinstance(container, dict):
            container[rng.choice((f"{key} ", str(key).upper(), *TEXTS))] = wild_value(rng)
        elif change == "copy":
            other, name = rng.choice(inside)
            with_value = other[name] if name in places_of(other) else None
            container[key] = json.loads(json.dumps(with_value))
        elif change == "length" and isinstance(value, (str, list)):
            container[key] = rng.choice((value[:-1], value + value, value[1:] + value[:1], value[::-1], value * 300))
        elif change == "nest":
            container[key] = [value]
    return tree


def places_of(container):
    return container if isinstance(container, dict) else range(len(container))


def tree_text(rng, tree):
    """JSON of `tree`; now and then with a key twice, of another encoding, nested without end, or damaged."""
    text = json.dumps(tree, indent=rng.choice((None, 2)))
    how = rng.choice(("", "", "", "", "", "twice", "encoding", "depth", "bytes"))
    if how == "twice" and isinstance(tree, dict) and tree:
        key = rng.choice(list(tree))
        text = text.rstrip("}\n ") + f", {json.dumps(key)}: {json.dumps(wild_value(rng))}}}"
    if how == "depth":
        text = text.replace(rng.choice(("1", "{", '"', "0")), "[" * rng.choice((3, 100_000)), 1)
    content = text.encode(rng.choice(ENCODINGS) if how == "encoding" else "utf-8", errors="replace")
    return mutated_bytes(rng, content) if how == "bytes" else content


# ---- rows of text ----------------------------------------------------------------------------------------------------


def mutated_rows(rng, rows):
    """`rows`, lists of fields, changed: fields, their number and order; rows that are absent, twice or moved."""
    rows = [list(row) for row in rows]
    for _ in range(several(rng)):
        row = rng.choice(rows) if rows else []
        place = rng.randint(0, max(len(row) - 1, 0))
        change = rng.choice(
            ("field", "field", "field", "near", "remove", "add", "swap", "columns", "twice", "rows", "cross")
        )
        if change == "field" and row:
            row[place] = rng.choice(TEXTS)
        elif change == "near" and row:
            field = row[place]
            row[place] = rng.choice(
                (
                    field.upper(),
                    field + " ",
                    f'"{field}"',
                    field[:-1],
                    field + field,
                    f"./{field}",
                    f"-{field}",
                    field * (40_000 if len(field) < 100 else 1),
                )
            )
        elif change == "remove" and row:
            del row[place]
        elif change == "add":
            row.insert(place, rng.choice(TEXTS))
        elif change == "swap" and row:
            other = rng.randint(0, len(row) - 1)
            row[place], row[other] = row[other], row[place]
        elif change == "columns":
            for one in rows:
                one.insert(0, one.pop() if one else "")
        elif change == "twice":
            rows.append(list(row))
        elif change == "rows":
            rows = rng.choice((rows[1:], rows[:-1], rows[::-1], [], rows * (30 if len(rows) < 100 else 1)))
        elif change == "cross" and row:
            row[place] = rng.choice([field for one in rows for field in one] or [""])
    return rows


def rows_text(rng, rows, separator=" "):
    """The bytes of `rows`; now and then with other ends of lines, separators, encodings, or damaged."""
    how = rng.choice(("", "", "", "", "ends", "separator", "encoding", "bytes", "blank"))
    end = rng.choice(("\r\n", "\r", "\n\n", "\n\r", "\u2028")) if how == "ends" else "\n"
    separator = rng.choice(("\t", "  ", ",", ";", "|", "\u00a0", "\x1c")) if how == "separator" else separator
    text = end.join(separator.join(row) for row in rows) + rng.choice((end, ""))
    text = rng.choice((" ", "\n", "\ufeff", "# note\n", "sep=;\r\n", "[", "{")) + text if how == "blank" else text
    content = text.encode(rng.choice(ENCODINGS) if how == "encoding" else "utf-8", errors="replace")
    return mutated_bytes(rng, content) if how == "bytes" else content


# ---- tensors ---------------------------------------------------------------------------------------------------------

DTYPES = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.complex64, torch.uint16),
)


def with_one(rng, value):
    """`value` with one wild number in it."""
    value = value.clone()
    number = rng.choice(
        [n for n in NUMBERS if abs(n) < 2**63 or n != n or (not value.dtype.is_floating_point and n >= 0)]
    )
    if value.numel():
        place = value.reshape(-1)[rng.randint(0, value.numel() - 1)]
        try:
            place.fill_(number)
        except (RuntimeError, OverflowError, ValueError):  # not a number of this type
            place.fill_(rng.choice((0, 1, 100)))
    return value


def of_another_shape(rng, value):
    shapes = {
        "unsqueezed": lambda: value[None],
        "flat": lambda: value.reshape(-1),
        "transposed": lambda: value.T.contiguous() if value.ndim == 2 else value[..., None],
        "turned": lambda: value.T if value.ndim == 2 else value.flip(0) if value.ndim else value,
        "short": lambda: value[:-1] if value.ndim else value,
        "narrow": lambda: value[..., :-1] if value.ndim else value,
        "long": lambda: torch.cat([value, value]) if value.ndim else value,
        "empty": lambda: value[:0] if value.ndim else value,
        "scalar": lambda: value.reshape(-1)[0] if value.numel() else value,
        "view": lambda: value.new_zeros(()).expand(value.shape),
        "strided": lambda: torch.stack([value, value], dim=-1)[..., 0],
        "huge": lambda: value.new_zeros(1).expand(2**40),
    }
    return shapes[rng.choice(list(shapes))]()


def of_another_kind(rng, value):
    kinds = {
        "sparse": lambda: value.to_sparse(),
        "csr": lambda: value.to_sparse_csr(),
        "meta": lambda: value.to("meta"),
        "quantised": lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
        "nested": lambda: torch.nested.nested_tensor([value.float(), value.float()]),
        "list": lambda: value.tolist(),
        "array": lambda: value.numpy(),
        "text": lambda: rng.choice(TEXTS),
        "number": lambda: rng.choice(NUMBERS),
        "none": lambda: None,
        "dict": lambda: {"a": value},
        "parameter": lambda: torch.nn.Parameter(value, requires_grad=value.is_floating_point()),
        "grad": lambda: value.float().requires_grad_(),
    }
    try:
        return kinds[rng.choice(list(kinds))]()
    except (RuntimeError, TypeError, IndexError):  # this tensor has no such form
        return None


def mutated_tensors(rng, tensors):
    """`tensors`, {name: tensor}, changed: type, shape, layout and values; names that are absent, new or exchanged."""
    tensors = dict(tensors)
    for _ in range(several(rng)):
        held = [name for name, value in tensors.items() if torch.is_tensor(value) and value.layout == torch.strided]
        if not held:
            break
        name = rng.choice(held)
        value = tensors[name]
        change = rng.choice(
            ("type", "type", "shape", "shape", "kind", "value", "value", "scale", "remove", "add", "swap")
        )
        if value.is_meta or value.is_quantized or value.is_nested or value.numel() > 2**20:
            continue
        value = value.detach()
        if change == "type":
            tensors[name] = value.to(rng.choice(DTYPES))
        elif change == "shape":
            tensors[name] = of_another_shape(rng, value)
        elif change == "kind":
            tensors[name] = of_another_kind(rng, value)
        elif change == "value":
            tensors[name] = with_one(rng, value)
        elif change == "scale" and value.dtype in (torch.float32, torch.float64):
            tensors[name] = value * rng.choice((0, -1, 1e-30, 1e-45, 1e20, 1e38, float("nan")))
        elif change == "remove":
            del tensors[name]
        elif change == "add":
            tensors[rng.choice((f"{name}.more", f"module.{name}", name.upper(), 3, "", "x" * 300))] = value
        elif change == "swap":
            other = rng.choice(held)
            tensors[name], tensors[other] = tensors[other], tensors[name]
    return tensors


def tensor_bytes(rng, content, canary):
    """The bytes of a torch file of `content`; now and then of an older format, with code in it, or damaged."""
    how = rng.choice(("", "", "", "", "legacy", "code", "pickle", "list", "bytes", "bytes"))
    if how == "code":
        content = {**content, rng.choice(("a", *content)): Code(canary)} if rng.random() < 0.5 else Code(canary)
    elif how == "list":
        content = rng.choice(
            (list(content.items()), list(content.values()), {"state_dict": content}, (content,), {}, None)
        )
    file = io.BytesIO()
    if how == "pickle":
        pickle.dump(rng.choice((Code(canary), {}, [Code(canary)])), file)
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how != "legacy")
    return mutated_bytes(rng, file.getvalue()) if how == "bytes" else file.getvalue()


def safetensors_bytes(rng, tensors, metadata=None):
    """The bytes of a safetensors file of those of `tensors` that it can hold, now and then with a broken header."""
    plain = {
        str(name): value.detach().contiguous().clone()
        for name, value in tensors.items()
        if torch.is_tensor(value) and value.layout == torch.strided and value.numel() < 2**20
        if not (value.is_meta or value.is_quantized or value.is_nested)
    }
    content = save(plain, metadata)
    if rng.random() < 0.2:  # the header: 8 bytes of its length, and JSON
        length = int.from_bytes(content[:8], "little")
        header = tree_text(rng, mutated_tree(rng, json.loads(content[8 : 8 + length])))
        content = len(header).to_bytes(8, "little") + header + content[8 + length :]
    return plain, content
