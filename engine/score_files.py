"""Score files: lines of `FILE CLASS CONFIDENCE`, one a clip, joined to clips by file name."""

from data.protocols import read_lines
from utils.errors import InputError, MissingInput
from utils.files import write_text


def class_score_text(names, logits):
    """The lines of a score file: the class of the largest of `logits` [n, classes] and its softmax probability.

    The probability is float32, printed with the digits of a double, as in the published files.
    """
    confidence, predicted = logits.float().softmax(dim=1).max(dim=1)
    rows = zip(names, predicted.tolist(), confidence.tolist(), strict=True)
    return "".join(f"{name} {label} {probability}\n" for name, label, probability in rows)


def write_class_scores(path, names, logits):
    """Write the score file of `logits` [n, classes]; see class_score_text."""
    write_text(path, class_score_text(names, logits))


def read_class_scores(path, num_classes):
    """{file name: (class, confidence)} of a score file of a model of `num_classes`.

    Raises InputError, naming the line, when one is broken or names a file again.
    """
    scores = {}
    for number, line in read_lines(path):
        fields = line.rsplit(None, 2)  # from the right: file names may hold blanks
        try:
            name, label, confidence = fields[0], int(fields[1]), float(fields[2])
        except (ValueError, IndexError):
            raise InputError(f"{path}:{number} reads {line!r}, expected FILE CLASS CONFIDENCE") from None
        if not 0 <= label < num_classes:
            raise InputError(f"{path}:{number} gives {name} the class {label}, expected 0 to {num_classes - 1}")
        if not 0 <= confidence <= 1 + 1e-6:  # false for NaN too; float32 softmax may round above 1
            raise InputError(f"{path}:{number} gives class {label} at {confidence}, expected 0 <= confidence <= 1")
        if name in scores:
            raise InputError(f"{path}:{number} scores {name} again: keep one line a file")
        scores[name] = label, confidence
    return scores


def find_score_file(folder, names):
    """The one file under `folder` that has one of `names`: there, as our scripts write, or one folder deeper.

    The published score files lie in sub-folders such as id_diff_config/. Raises MissingInput when there is none,
    InputError when there are two.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the folder of score files as --result")
    wanted = {name.rpartition("/")[2] for name in names}
    found = sorted(path for pattern in ("*.txt", "*/*.txt") for path in folder.glob(pattern) if path.name in wanted)
    if not found:
        raise MissingInput(f"{folder / names[0]} does not exist: run the source_tracing script first, or set --result")
    if len(found) > 1:
        raise InputError(f"{' and '.join(map(str, found))} are both there: keep one, or set --result to its folder")
    return found[0]


def pair_by_name(scores, clips, path):
    """True and predicted classes of `clips` [n], [n], joined by name; `path` is the score file, for the message.

    Raises InputError naming a clip without a score, or a score without a clip.
    """
    names = {clip.name for clip in clips}
    for clip in clips:
        if clip.name not in scores:
            raise InputError(
                f"{path} has no score of {clip.name}, named by {clip.source}"
                f" ({len(names - scores.keys())} of {len(names)} are missing): trace this corpus again"
            )
    for name in scores:
        if name not in names:
            raise InputError(
                f"{path} scores {name}, which {clips[0].source.rpartition(':')[0] or clips[0].source} does not name"
                f" ({len(scores.keys() - names)} files are unknown): the two belong to different corpora"
            )
    return [clip.label for clip in clips], [scores[clip.name][0] for clip in clips]
