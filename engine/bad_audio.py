"""bad_audio.csv: the files that tracing could not use and passed over, on demand, with the reason of each."""

import csv

from utils.errors import InputError
from utils.files import NAMES, csv_line, write_text
from utils.hardware import is_first_process

NAME = "bad_audio.csv"  # under --result
COLUMNS = ["condition", "file", "reason"]


def read_bad(result):
    """[(condition, file name, reason)] of bad_audio.csv in the folder `result`, [] where there is none.

    Raises InputError when it is damaged.
    """
    path = result / NAME
    try:
        with open(path, encoding="utf-8", errors=NAMES, newline="") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): trace again") from None
    if header != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise InputError(f"{path} is damaged, expected columns {','.join(COLUMNS)}: trace again")
    return [tuple(row) for row in rows]


def write_bad_audio(result, condition, bad):
    """Put `bad`, [(file name, reason)], in the place of what bad_audio.csv in `result` says of `condition`."""
    before = read_bad(result)
    rows = [row for row in before if row[0] != condition] + [(condition, *row) for row in bad]
    if rows == before:
        return
    write_text(result / NAME, "".join(map(csv_line, [COLUMNS, *sorted(rows)])))
    if bad:
        print(
            f"{condition}: {len(bad)} files could not be used, listed in {result / NAME}; no score of them is written"
        )


def report_bad_audio(result, condition):
    """The names of the files of a condition that bad_audio.csv in `result` lists; tells how many, if any."""
    names = {file for name, file, _ in read_bad(result) if name == condition}
    if names and is_first_process():
        print(f"{condition}: {len(names)} files are not counted, tracing could not use them: see {result / NAME}")
    return names
