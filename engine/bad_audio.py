"""bad_audio.csv: with --on_bad_audio skip, the files that tracing could not use, and the reason of each."""

import csv

from utils.errors import NOT_UTF8, InputError
from utils.files import csv_line, write_text
from utils.hardware import is_first_process

BAD_AUDIO_FILE = "bad_audio.csv"  # under --result
BAD_AUDIO_COLUMNS = ["condition", "file", "reason"]


def read_bad_audio(result):
    """[(condition, file name, reason)] of bad_audio.csv in the folder `result`; [] when there is no such file.

    Raises InputError when the file is damaged.
    """
    path = result / BAD_AUDIO_FILE
    try:
        with open(path, encoding="utf-8", errors=NOT_UTF8, newline="") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): trace again") from None
    if header != BAD_AUDIO_COLUMNS or any(len(row) != len(BAD_AUDIO_COLUMNS) for row in rows):
        raise InputError(f"{path} is damaged, expected columns {','.join(BAD_AUDIO_COLUMNS)}: trace again")
    return [tuple(row) for row in rows]


def write_bad_audio(result, condition, bad):
    """Replace the rows of `condition` in bad_audio.csv of the folder `result` by `bad`, [(file name, reason)]."""
    path = result / BAD_AUDIO_FILE
    before = read_bad_audio(result)
    rows = [row for row in before if row[0] != condition] + [(condition, *row) for row in bad]
    if rows == before:
        return
    write_text(path, "".join(map(csv_line, [BAD_AUDIO_COLUMNS, *sorted(rows)])))
    if bad:
        print(f"{condition}: {len(bad)} files could not be used and have no score; {path} lists them")


def report_bad_audio(result, condition):
    """The names of the files of `condition` in bad_audio.csv of the folder `result`; prints how many, if any."""
    path = result / BAD_AUDIO_FILE
    names = {file for name, file, _ in read_bad_audio(result) if name == condition}
    if names and is_first_process():
        print(f"{condition}: {len(names)} files are not counted, because tracing could not use them; {path} lists them")
    return names
