"""Score files of the taxonomy system: lines of `NAME SCORE ...`, one a clip, joined to clips by name."""

import numpy as np

from data.protocols import read_lines
from data.taxonomy import TAXONOMY_CLASSES
from utils.errors import InputError
from utils.files import write_text

TASK_FILE = "taxonomy/{}_score.txt"  # of a task, under --result
# Scores in a line: of bin the probability of bona fide speech, or SASTNet's logits [bona fide, spoof]
TASK_COLUMNS = {task: (len(classes),) for task, classes in TAXONOMY_CLASSES.items()} | {"bin": (1, 2)}


def write_task_scores(result, names, scores):
    """Write the score file of each task of `scores`, {task: tensor [n, columns]}, under the folder `result`."""
    for task, rows in scores.items():
        path = result / TASK_FILE.format(task)
        lines = (f"{name} {' '.join(map(str, row))}\n" for name, row in zip(names, rows.tolist(), strict=True))
        write_text(path, "".join(lines))
        print(f"wrote {path} ({len(names)} files)")


def read_task_scores(path, task):
    """{name: scores [columns]} of a score file of `task`.

    Raises InputError, naming the line, when one is broken or names a clip again.
    """
    scores, expected = {}, TASK_COLUMNS[task]
    for number, line in read_lines(path):
        name, *fields = line.split()
        try:
            row = np.array(fields, dtype=np.float64)
        except ValueError:
            raise InputError(f"{path}:{number} reads {line!r}, expected NAME SCORE ...") from None
        if len(row) not in expected or not np.isfinite(row).all():
            raise InputError(
                f"{path}:{number} gives {name} {len(row)} scores ({' '.join(fields)}),"
                f" expected {' or '.join(map(str, expected))} finite ones of task {task.upper()}"
            )
        if name in scores:
            raise InputError(f"{path}:{number} scores {name} again: keep one line a clip")
        if len(row) != len(next(iter(scores.values()), row)):
            raise InputError(f"{path}:{number} gives {name} {len(row)} scores, other clips another number")
        scores[name] = row
    return scores
