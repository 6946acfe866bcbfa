"""Score files of the second system, one for each task: lines of `NAME SCORE ...`."""

import numpy as np

from data.taxonomy import TAXONOMY_CLASSES
from engine.score_files import plain_number, read_score_file, write_score_file
from utils.errors import InputError

TASK_FILE = "taxonomy/{}_score.txt"  # of a task, under --result
# Scores in a line. Of bin: the probability of bona fide speech, or SASTNet's logits [bona fide, spoof]
TASK_COLUMNS = {task: (len(classes),) for task, classes in TAXONOMY_CLASSES.items()} | {"bin": (1, 2)}


def write_task_scores(result, names, scores):
    """Write the score file of each task of `scores`, {task: tensor [n, columns]}, under the folder `result`."""
    for task, rows in scores.items():
        write_score_file(result / TASK_FILE.format(task), names, rows.tolist())


def read_task_scores(path, task):
    """{name: scores [columns]} of a score file of `task`.

    Raises InputError, naming the line, when a line is broken or names a clip again.
    """
    expected = TASK_COLUMNS[task]
    lengths = set()  # of the lines so far

    def parse(line, place):
        name, *fields = line.split()
        try:
            row = np.array(list(map(plain_number, fields)), dtype=np.float64)
        except ValueError:
            raise InputError(f"{place} reads {line!r}, expected NAME SCORE ...") from None
        if len(row) not in expected or not np.isfinite(row).all():
            raise InputError(
                f"{place} gives {name} {len(row)} scores ({' '.join(fields)}),"
                f" expected {' or '.join(map(str, expected))} finite ones of task {task.upper()}"
            )
        lengths.add(len(row))
        if len(lengths) > 1:
            raise InputError(f"{place} gives {name} {len(row)} scores, but the lines before it have another number")
        return name, row

    return read_score_file(path, parse)
