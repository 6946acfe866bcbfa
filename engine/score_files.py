"""Score files: a line for each clip, with its name and its scores; read back, they are joined to clips by name.

The first system writes lines of `FILE CLASS CONFIDENCE`; those of the second are in taxonomy_score_files.py.
"""

from data.protocols import read_lines
from utils.errors import InputError, MissingInput
from utils.files import write_text
from utils.reading import files_below


def score_text(names, rows):
    """The lines of a score file: each of `names`, and the values in its row."""
    return "".join(f"{name} {' '.join(map(str, row))}\n" for name, row in zip(names, rows, strict=True))


def write_score_file(path, names, rows):
    """Write the score file of both systems: a line for each of `names`, with the values in its row."""
    write_text(path, score_text(names, rows))
    print(f"wrote {path} ({len(names)} files)")


def read_score_file(path, parse):
    """{name: scores} of a score file; `parse(line, place)` gives (name, scores) of a line, `place` is FILE:LINE.

    Raises InputError when two lines have the same name, and whatever `parse` raises.
    """
    scores = {}
    for number, line in read_lines(path):
        place = f"{path}:{number}"
        name, row = parse(line, place)
        if name in scores:
            raise InputError(f"{place} scores {name} again: keep one line for each file")
        scores[name] = row
    return scores


def class_scores(logits):
    """Rows (class, confidence): the class of the largest of `logits` [n, classes] and its softmax probability.

    The probability is float32, printed with the digits of a double, as in the published files.
    """
    confidence, predicted = logits.float().softmax(dim=1).max(dim=1)
    return list(zip(predicted.tolist(), confidence.tolist(), strict=True))


def plain_number(text):
    """`text`. Raises ValueError for what Python reads as a number although no score file has it: 1_0, or ٣ for 3."""
    if "_" in text or not text.isascii():
        raise ValueError(text)
    return text


def read_class_scores(path, num_classes):
    """{file name: (class, confidence)} of a score file of a model of `num_classes`.

    Raises InputError, naming the line, when a line is broken or names a file again.
    """

    def parse(line, place):
        fields = line.rsplit(None, 2)  # from the right: file names may hold blanks
        try:
            name = fields[0]
            label = int(plain_number(fields[1]))
            confidence = float(plain_number(fields[2]))
        except (ValueError, IndexError):
            raise InputError(f"{place} reads {line!r}, expected FILE CLASS CONFIDENCE") from None
        if not 0 <= label < num_classes:
            raise InputError(f"{place} gives {name} the class {label}, expected 0 to {num_classes - 1}")
        if not 0 <= confidence <= 1 + 1e-6:  # false for NaN too; float32 softmax may round above 1
            raise InputError(f"{place} gives class {label} at {confidence}, expected 0 <= confidence <= 1")
        return name, (label, confidence)

    return read_score_file(path, parse)


def score_files(folder, names):
    """The files of one of `names` in `folder` and in its sub-folders."""
    wanted = {name.rpartition("/")[2] for name in names}
    return [path for path in files_below(folder, levels=2) if path.name in wanted]


def find_score_file(folder, names):
    """The one file among score_files(). Our scripts write into `folder`.

    The published score files lie in sub-folders such as id_diff_config/. Raises MissingInput when there is no such
    file, InputError when there are two.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of score files as --result")
    paths = score_files(folder, names)
    if not paths:
        raise MissingInput(f"{folder / names[0]} does not exist: run the source_tracing script first, or set --result")
    if len(paths) > 1:
        raise InputError(f"{' and '.join(map(str, paths))} are both there: keep one, or set --result to its folder")
    return paths[0]


def pair_by_name(scores, clips, path):
    """(true classes [n], predicted classes [n]) of `clips`, joined to their scores by name.

    Raises InputError, naming the score file `path`, for a clip without a score and for a score without a clip.
    """
    names = {clip.name for clip in clips}
    for clip in clips:
        if clip.name not in scores:
            raise InputError(
                f"{path} has no score of {clip.name}, named by {clip.source}"
                f" ({len(names - scores.keys())} of {len(names)} are missing): trace this corpus again"
            )
    label_file = clips[0].source.rpartition(":")[0] or clips[0].source
    for name in scores:
        if name not in names:
            raise InputError(
                f"{path} scores {name}, which {label_file} does not name"
                f" ({len(scores.keys() - names)} files are unknown): the two belong to different corpora"
            )
    return [clip.label for clip in clips], [scores[clip.name][0] for clip in clips]
