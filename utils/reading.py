"""Reading files: what others may have written is checked by type, range and length before it is used.

A schema says what a JSON or TOML file holds. It is a class that `strict` marks, beside what writes the file:

    @strict
    class About(TypedDict):
        version: Annotated[int, Ge(1)]
        names: NotRequired[Names]

No type stands for another there (true is no number), no number is NaN or infinite, no key comes twice, and other keys
are ignored.
"""

import functools
import json
import os
import re
from collections import Counter
from pathlib import Path
from stat import S_ISLNK, S_ISREG
from typing import Annotated

from annotated_types import Ge, Interval, Len, Predicate

from utils.errors import InputError, MissingInput


def printable_text(text):
    return text.isprintable() and bool(text.strip())


def all_different(values):
    return len(set(values)) == len(values)


Name = Annotated[str, Len(1, 200), Predicate(printable_text)]
Names = Annotated[list[Name], Len(2, 1000), Predicate(all_different)]  # of classes
Count = Annotated[int, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]


STRICT = {"strict": True, "allow_inf_nan": False}  # exact types and finite numbers


def strict(schema, closed=False):
    """Mark the TypedDict `schema` as STRICT; with `closed`, other keys are an error. A decorator."""
    schema.__pydantic_config__ = STRICT | ({"extra": "forbid"} if closed else {})
    return schema


def read_bytes(path, missing="give another path"):
    """The content of a file. Raises MissingInput, which ends with `missing`, when there is none, and InputError when it
    is not a regular file, which could have no end, or when it cannot be read."""
    try:
        if not S_ISREG(os.stat(path).st_mode):
            kind = "a folder" if os.path.isdir(path) else "a pipe or a device"
            raise InputError(f"{path} is {kind}, expected a file")
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        raise MissingInput(f"{path} does not exist: {missing}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name; an InputError of above is one too
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def files_below(folder, unreadable=None, levels=None):
    """The paths of the files, and of links, in `folder` and the folders below it, in order; none where it is absent.

    Links to folders are not followed, except where `levels`, the number of folders in a path, sets an end. A folder
    that cannot be read raises InputError, or is given to unreadable(path): its files must not be left out unnoticed.
    """

    def tell(error):
        if isinstance(error, (FileNotFoundError, NotADirectoryError)):
            return
        if not unreadable:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
        unreadable(Path(error.filename))

    found = []
    for place, folders, names in os.walk(folder, onerror=tell, followlinks=bool(levels)):
        found += (path for name in (*names, *folders) if is_file_or_link(path := Path(place, name)))
        if levels and len(Path(place).relative_to(folder).parts) + 1 == levels:
            folders.clear()
    return sorted(found)


def is_file_or_link(path):
    """Whether `path` may be read as a file: not a folder, a pipe or a device. Also where nobody may look at it."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return True
    return S_ISREG(mode) or S_ISLNK(mode)


@functools.cache
def adapter_of(schema):
    """What checks values by `schema`; it takes long to make."""
    from pydantic import TypeAdapter  # slow to import

    config = None if hasattr(schema, "__pydantic_config__") else STRICT
    return TypeAdapter(schema, config=config)


def check_content(content, schema, place, remedy):
    """`content` of the file `place`. Raises InputError, which ends with `remedy`, where it does not fit `schema`.

    A schema that is no TypedDict, such as dict[str, Count], is STRICT.
    """
    from pydantic import ValidationError  # slow to import

    try:
        adapter_of(schema).validate_python(content)
    except ValidationError as error:
        raise InputError(f"{place}: {describe_error(error.errors(include_url=False)[0])}: {remedy}") from None
    except RecursionError:
        raise InputError(f"{place} is nested too deeply: {remedy}") from None
    return content


def describe_error(error):
    """An error of pydantic's as text: the place, what was found, what was expected."""
    where = ".".join(map(str, error["loc"])) or "the content"
    if error["type"] == "missing":
        return f"{where} is missing"
    if error["type"] == "extra_forbidden":
        return f"{where} is no known key"
    expected = re.sub(r"^(\w+ should (be|have|match)|Predicate) | failed$| after validation, not \d+", "", error["msg"])
    return f"{where} is {shown(error['input'])}, expected {expected.replace('_', ' ')}"


def shown(value, length=60):
    """`value` for a message: its start where it is long."""
    text = (
        f"an integer of {value.bit_length()} bits" if type(value) is int and value.bit_length() > 200 else repr(value)
    )
    text = " ".join(text.split())  # that of a tensor has many lines
    return text if len(text) <= length else f"{text[:length]}..."


def once(pairs):
    """The dict of the `pairs` of a JSON object. Raises ValueError for a key that comes twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        [(key, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"it has the key {shown(key)} twice")
    return content


def load_json(text):
    """The value of JSON `text`. Raises ValueError or RecursionError for other text, and for a key that comes twice."""
    return json.loads(text, object_pairs_hook=once)


def parse_json(text, schema, place, remedy):
    """The value of JSON `text`, str or bytes, of `place`: FILE or FILE:LINE. Raises InputError as check_content()."""
    try:
        content = load_json(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{place} is not JSON ({reason}): {remedy}") from None
    return check_content(content, schema, place, remedy)


def read_json(path, schema, remedy):
    """The content of a JSON file that fits `schema`. Raises MissingInput or InputError, which end with `remedy`."""
    return parse_json(read_bytes(path, remedy), schema, path, remedy)
