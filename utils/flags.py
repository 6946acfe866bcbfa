"""Flags of a script from a frozen dataclass: one declaration gives the default, the help line and the check."""

import argparse
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path, PurePosixPath

from utils.errors import InputError
from utils.hardware import choose_gpu, yield_waiting_threads
from utils.hub import found_model
from utils.targets import check_targets

OTHER_FLAGS = (
    "\nThese are the flags that are used most. All flags of this system are accepted, so that scripts can share a "
    "command line; those that a script does not need have no effect. `python {} --help` explains all of them."
)


class Under(PurePosixPath):
    """A default path inside --data_root; a path that the user gives is taken as it is."""


def opt(default, help, *names, positional=False, hub=False, writes=None, **argparse_options):
    """A field of a configuration: its default, its help line, and what argparse needs beyond its type.

    `names` are further names of the flag, such as "-o". A `positional` field is given without a flag. The folder of a
    model may also be a name of the `hub`. A file that is written has its kind in `writes`, one of KINDS in targets.py.
    """
    options = dict(argparse_options, help=help)
    metadata = {"names": names, "positional": positional, "hub": hub, "writes": writes, "argparse": options}
    return field(default=default, metadata=metadata)


def number(kind, least, below=math.inf):
    """An argparse type: a `kind` in [least, below)."""

    def parse(text):
        value = kind(text)
        if not least <= value < below:
            raise argparse.ArgumentTypeError(f"{text} is out of range: expected {least} <= value < {below}")
        return value

    parse.__name__ = kind.__name__
    return parse


def share(text):
    """An argparse type: a float from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is out of range: expected 0 <= value <= 1")
    return value


random_seed = number(int, 0, 2**32)
batch = number(int, 1, 100_001)  # more clips fit no memory, and a mistyped number would take for ever


class InProject(PurePosixPath):
    """A default path inside the folder of this project; a path that the user gives is taken as it is."""


PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Flags:
    """The base of every configuration. Subclasses declare fields with opt(); their docstring is the title in --help."""

    def __post_init__(self):
        for f in fields(self):
            object.__setattr__(self, f.name, self.placed(getattr(self, f.name)))

    def placed(self, value):
        """`value`. A default that is Under or InProject becomes the whole path that it means in this configuration."""
        if isinstance(value, Under):
            return Path(self.data_root, value)
        return Path(PROJECT, value) if isinstance(value, InProject) else value

    def json_text(self):
        """This configuration as JSON, paths as text."""
        return json.dumps(asdict(self), default=str, indent=2) + "\n"


def is_default(config, name):
    """Whether the flag `name` of a configuration has its default."""
    return getattr(config, name) == config.placed(getattr(type(config), name))


def may_be(configuration, name, value):
    """Whether `value`, read from a file, is one that the flag `name` of `configuration` can have."""
    flag = next(field for field in fields(configuration) if field.name == name)
    options = flag.metadata["argparse"]
    if value is None or "action" in options:  # an action has its own rules
        return flag.default is None or "action" in options
    if type(value) is not flag.type and (type(value), flag.type) != (int, float):
        return False
    try:
        options.get("type", flag.type)(value)
    except (ValueError, OverflowError, argparse.ArgumentTypeError):
        return False
    return value in options.get("choices", (value,))


def parse_flags(description, argv, configuration, *shown):
    """The `configuration` that command-line flags `argv` make; exits with status 2 on a bad flag.

    --help shows the flags that `shown` names: names of fields, or classes for all of their fields. Without `shown` it
    shows every flag. Raises InputError when an output could not be written, or the hub lacks a model.
    """
    visible = shown_names(configuration, shown)
    hidden = len(visible) < len(fields(configuration))
    parser = argparse.ArgumentParser(
        usage=" ".join(("%(prog)s [options]", *positional_names(configuration))),  # the list of flags follows below
        description=description,
        epilog=OTHER_FLAGS.format(f"{home_of(configuration)}.py") if hidden else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for title, members in field_groups(configuration):
        group = parser.add_argument_group(title) if any(f.name in visible for f in members) else parser
        for f in members:
            add_flag(group, f, f.name in visible)
    yield_waiting_threads()
    config = with_found_models(configuration(**vars(parser.parse_args(argv))))
    if getattr(config, "gpu", ""):
        choose_gpu(config.gpu)
    check_targets(config)
    return config


def configured(configuration, **values):
    """The `configuration` of Python values, each checked and converted as its flag would be.

    Raises InputError for a name that is no flag, and for a value that its flag would refuse.
    """
    declared = {f.name: f for f in fields(configuration)}
    for name in values.keys() - declared.keys():
        raise InputError(f"{name} is no setting of {configuration.__name__}: expected one of {', '.join(declared)}")
    return with_found_models(
        configuration(**{name: converted(declared[name], value) for name, value in values.items()})
    )


def with_found_models(config):
    """`config` with the folders of models. A name in the hub becomes the folder of that model in the hub's cache."""
    given = {f.name: getattr(config, f.name) for f in fields(config) if f.metadata["hub"]}
    defaults = {f.name: f.default for f in fields(config)}
    return replace(config, **{name: found_model(value) for name, value in given.items() if value != defaults[name]})


def converted(f, value):
    """`value` as the flag of the dataclass field `f` would give it; the default stays as it is."""
    options = f.metadata["argparse"]
    if value is None or f.type is bool:
        return value
    convert = options.get("type", f.type)
    repeated = "nargs" in options
    try:
        items = [convert(str(item)) for item in (value if repeated else [value])]
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise InputError(f"{f.name}: {error}") from None
    if "choices" in options and not set(items) <= set(options["choices"]):
        raise InputError(f"{f.name} is {value!r}: expected one of {', '.join(map(str, options['choices']))}")
    return tuple(items) if repeated else items[0]


def home_of(configuration):
    """The name of the module that declares all flags of a system: a script may add some of its own."""
    names = [owner.__module__ for owner in configuration.__mro__]
    return next((name for name in names if name.startswith("config")), names[0])


def shown_names(configuration, shown):
    """The names of the fields that `shown` means; of all fields where it is empty."""
    names = set()
    for item in shown or [configuration]:
        names |= {item} if isinstance(item, str) else {f.name for f in fields(item)}
    return names


def field_groups(configuration):
    """[(title, fields)]: each field belongs to the last class that declares it, whose docstring is the title."""
    declared = {f.name: f for f in fields(configuration)}
    groups = []
    for owner in configuration.__mro__:
        own = [declared.pop(name) for name in vars(owner).get("__annotations__", ()) if name in declared]
        if own:
            groups.append(((owner.__doc__ or "").partition("\n")[0].rstrip("."), own))
    return groups[::-1]


def add_flag(parser, f, visible):
    """Add the flag of the dataclass field `f` to an argparse parser or group."""
    # The dataclass owns the defaults: argparse would run `type` over them.
    options = dict(f.metadata["argparse"], default=argparse.SUPPRESS)
    if not visible:
        options["help"] = argparse.SUPPRESS
    elif not f.metadata["positional"]:
        options["help"] = f"{options['help']}{default_text(f.default)}".replace("%", "%%")
    if f.type is bool:
        options["action"] = "store_true"
    elif "nargs" not in options:
        options.setdefault("type", f.type)
    if f.metadata["positional"]:
        parser.add_argument(f.name, **options)
    else:
        parser.add_argument(*f.metadata["names"], f"--{f.name}", dest=f.name, **options)


def default_text(default):
    """What --help adds to a flag with this default; nothing where no value is the default."""
    if default is None or default is False or default in ((), ""):
        return ""
    values = default if isinstance(default, tuple) else (default,)
    return f" (default: {' '.join(map(str, values))})"


def positional_names(configuration):
    """What the usage line calls the arguments without a flag, with ... after those that repeat."""
    given = ((f.name, f.metadata["argparse"]) for f in fields(configuration) if f.metadata["positional"])
    return [options.get("metavar", name) + (" ..." if "nargs" in options else "") for name, options in given]


def print_flags(config):
    """Print the name and value of every flag."""
    for name, value in asdict(config).items():
        print(f"{name:24} {value}")
