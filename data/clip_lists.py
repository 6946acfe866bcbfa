"""A corpus of the user's own as lists: which lines are for training, development and test, and the class names.

A list is a table of data/clip_table.py. Its labels are the names of the classes: `real` is class 0, the others follow
in alphabetical order. One list may serve for all: by its column `split`, or by --dev_rows and --eval_rows.
"""

import hashlib
from dataclasses import fields, replace

from data.clip_table import read_table
from data.corpus_formats import REAL_LABEL
from utils.digests import sha256
from utils.errors import NOT_UTF8, InputError, MissingInput
from utils.flags import converted, is_default
from utils.hardware import is_first_process
from utils.reading import files_below

LIST_FLAGS = (
    *("train_list", "dev_list", "eval_list", "dev_rows", "eval_rows", "label_column", "list_audio", "list_format"),
)
CORPUS_FLAGS = (
    *("data_root", "train_wav", "train_label", "dev_wav", "dev_label", "eval_wav", "eval_label", "class_names"),
)
SPLITS = {  # words of the column `split`, in lower case
    "train": ("train", "training"),
    "dev": ("dev", "development", "val", "valid", "validation"),
    "eval": ("eval", "evaluation", "test", "testing"),
}


def uses_lists(config):
    """Whether the corpus is given by lists."""
    return bool(config.train_list or config.dev_list or config.eval_list)


def given_lists(config):
    """{flag: value} of the lists that `config` names, in the form of JSON; {} without lists."""
    values = {name: getattr(config, name) for name in LIST_FLAGS} if uses_lists(config) else {}
    return {
        name: list(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in values.items()
        if not is_default(config, name)
    }


def adopt_lists(config, lists, place):
    """`config` with the flags of `lists`, which given_lists() gave, unless it names a corpus itself.

    Prints these flags and the `place` that they come from. Raises MissingInput where a list does not exist any more,
    InputError for values that no flag can have.
    """
    if not lists or not all(is_default(config, name) for name in (*LIST_FLAGS, *CORPUS_FLAGS)):
        return config
    for name, value in lists.items():
        if name not in LIST_FLAGS or not isinstance(value, list if name == "list_audio" else str):
            raise InputError(f"{place} names its lists by {name}: {value!r}, which is no flag of lists: trace again")
    declared = {f.name: f for f in fields(config)}
    values = {name: converted(declared[name], value) for name, value in lists.items()}
    values = {name: value for name, value in values.items() if value != declared[name].default}
    words = " ".join(
        f"--{name} {' '.join(map(str, value)) if isinstance(value, tuple) else value}" for name, value in values.items()
    )
    for name in ("train_list", "dev_list", "eval_list"):
        if name in values and not values[name].exists():
            raise MissingInput(f"{place} is of {words}, which does not exist: give --{name}, or a --data_root")
    if is_first_process():
        print(f"no corpus is given, so that of {place} is used: {words}")
    return replace(config, **values)


def list_of(config, role):
    """The path of the list that has the clips of `role`, a key of SPLITS; None where there is none."""
    return getattr(config, f"{role}_list") or config.train_list


def read_list_table(config, path):
    """The Table of a list. Raises MissingInput when it does not exist, InputError when it cannot be read."""
    try:
        return read_table(path, ("file", config.label_column), config.list_audio, config.list_format)
    except MissingInput as absent:
        raise MissingInput(
            f"{absent}: give a CSV, TSV or JSONL file, or a folder with a subfolder for each class"
        ) from None


def parse_rule(text, flag):
    """(column, values) of text such as "page=page09,page14". Raises InputError for other text."""
    column, equals, values = text.partition("=")
    values = [value.strip() for value in values.split(",") if value.strip()]
    if not column.strip() or not equals or not values:
        raise InputError(f"{flag} {text}: expected COLUMN=VALUE or COLUMN=VALUE,VALUE")
    return column.strip(), values


def check_column(table, path, column, flag):
    """Raise InputError, which names the `flag`, where the Table of the list `path` lacks the column."""
    if column not in table.columns:
        raise InputError(f"{flag}: {path} has no column {column}, expected one of {', '.join(table.columns)}")


def cell(clip, column):
    """The text of a TableClip in `column`; "" where it has none."""
    return (clip.columns.get(column) or "").strip()


def rows_by_rule(table, path, text, flag):
    """The positions of the clips of a Table that a rule selects, a set.

    Raises InputError where the table lacks the column, or where no clip has one of the values.
    """
    column, values = parse_rule(text, flag)
    check_column(table, path, column, f"{flag} {text}")
    cells = [cell(clip, column) for clip in table.clips]
    for value in values:
        if value not in cells:
            raise InputError(f"{flag} {text}: no line of {path} has {value} in the column {column}")
    return {position for position, cell in enumerate(cells) if cell in values}


def positions_of_role(config, role, path, table):
    """The positions of the clips of `role` in the Table of the list `path`.

    Raises InputError where a rule does not fit the table, MissingInput where nothing says which clips are of this role.
    """
    everything = range(len(table.clips))
    rules = {
        other: rows_by_rule(table, path, getattr(config, f"{other}_rows"), f"--{other}_rows")
        for other in ("dev", "eval")
        if getattr(config, f"{other}_rows") and list_of(config, other) == path
    }
    if role in rules:
        return sorted(rules[role])
    if rules and role == "train":
        return [position for position in everything if not any(position in rule for rule in rules.values())]
    if "split" in table.columns:
        words = [cell(clip, "split").lower() for clip in table.clips]
        positions = [position for position in everything if words[position] in SPLITS[role]]
        if not positions:
            held = ", ".join(sorted(set(words) - {""})) or "nothing"
            raise InputError(
                f"{path} has no line for {role}: its column split holds {held}, expected {' or '.join(SPLITS[role])}"
            )
        return positions
    if role != "train" and not getattr(config, f"{role}_list"):
        raise MissingInput(
            f"{path} has no column split, so nothing says which of its lines are for {role}:"
            f" give --{role}_rows, or another list as --{role}_list"
        )
    return list(everything)


def read_role(config, role, problems=None):
    """[TableClip] of `role`, a key of SPLITS. Audio files need not exist.

    Raises MissingInput where there is no list, InputError for a line that cannot be used and for no clip at all. Where
    `problems` is a list, the lines are left out and their messages join it.
    """
    path = list_of(config, role)
    if not path:
        raise MissingInput(f"there is no list of clips for {role}: give --{role}_list")
    table = read_list_table(config, path)
    if problems is not None:
        problems.extend(table.problems)
    elif table.problems:
        more = f" ({len(table.problems)} lines cannot be used)" if len(table.problems) > 1 else ""
        raise InputError(table.problems[0] + more)
    clips = [table.clips[position] for position in positions_of_role(config, role, path, table)]
    if not clips:
        raise InputError(f"{path} has no clip left for {role}")
    return clips


def groups_of_role(config, role, column, flag):
    """{name: text in `column`} of each clip of `role`. Raises InputError without a list, the column or a text."""
    path = list_of(config, role)
    if not path:
        raise InputError(f"{flag} is a column of a list of clips: give --{role}_list, or leave it out")
    check_column(read_list_table(config, path), path, column, flag)
    clips = read_role(config, role)
    empty = next((clip for clip in clips if not cell(clip, column)), None)
    if empty:
        raise InputError(f"{empty.source} has no text in the column {column}: fill it in, or leave out {flag}")
    return {clip.name: cell(clip, column) for clip in clips}


def ordered_names(labels):
    """The names of classes in their order: real first, the others in alphabetical order."""
    return sorted(set(labels), key=lambda name: (name != REAL_LABEL, name))


def names_in_lists(config):
    """Names [classes] of the known classes: --class_names, or the labels of the training list; None without both.

    Raises InputError where the training list has fewer than two classes, and for another --num_classes.
    """
    names = config.class_names
    if not names and config.train_list:
        names = tuple(ordered_names(clip.label for clip in read_role(config, "train")))
    if not names:
        return None
    place = "--class_names" if config.class_names else config.train_list
    if len(names) < 2:
        raise InputError(f"{place} has only the class {names[0]}, expected two or more")
    if config.num_classes not in (None, len(names)):
        raise InputError(f"{place} has {len(names)} classes, but --num_classes is {config.num_classes}: leave it out")
    return list(names)


def unseen_labels(config, names):
    """The labels of the test clips that are not among `names`, in alphabetical order."""
    return ordered_names({clip.label for clip in read_role(config, "eval")} - set(names))


def digest_of_list(path):
    """SHA-256, in hex, of a label file or list; of a folder, that of the names of its files."""
    if not path.is_dir():
        return sha256(path)
    names = sorted(file.relative_to(path).as_posix() for file in files_below(path))
    return hashlib.sha256("\n".join(names).encode(errors=NOT_UTF8)).hexdigest()


def print_shared_clips(config):
    """Print how many development clips are also training clips, and how many speakers or utterances are in both."""
    if not uses_lists(config) or not is_first_process():
        return
    train = read_role(config, "train")
    dev = read_role(config, "dev")
    both = len({clip.path for clip in train} & {clip.path for clip in dev})
    if both:
        print(f"{both} clips are in the training and in the development data: the development loss says too little")
    for column in ("speaker", "utterance"):
        values = [{clip.columns.get(column) for clip in clips} - {None, ""} for clips in (train, dev)]
        shared = len(values[0] & values[1])
        if shared:
            print(f"{shared} of {len(values[1])} {column}s of the development clips are also in the training data")
