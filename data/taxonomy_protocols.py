"""Readers of the CodecFake+ lists: lines of blank-separated fields, without a header."""

from data.protocols import Clip, check_audio, folder_names, parsed, read_lines, refuse_doubles
from data.taxonomy import CODEC_TAXONOMY, REAL_LABELS, TAXONOMY_CLASSES, Labels, class_number, find_codec, labels_of
from utils.errors import InputError

AUDIO_SUFFIXES = (".flac", ".wav")  # in the order in which they are tried
# Number of fields of a line -> which field names the class of each task. The first field is the speaker or the system,
# the second the utterance, the last bonafide or spoof; a field that is "-" is empty.
LAYOUTS = {
    "CoRS": {
        3: {},  # the released CoRS_labels.txt, whose utterances are file names
        5: {},  # CoRS_ALL.txt
        7: {"aux": 3, "dec": 4, "vq": 5},  # lists of training, development and test
    },
    "CoSG": {
        4: {},  # some lines of CoSG_ALL.txt
        5: {"vq": 3},  # the other lines of CoSG_ALL.txt, and CoSG_SEEN.txt
        6: {"vq": 2, "aux": 3, "dec": 4},  # the released CoSG_labels.txt
    },
}
# File names of the lists of each --sampling_strategy, which are balanced over the classes of spoofs of this task.
LIST_NAMES = {
    "AUX": "{}_mult_learn.txt",
    "DEC": "{}_mult_learn_bal_dec.txt",
    "VQ": "{}_mult_learn_bal_vq.txt",
}


def codec_of(utterance):
    """The codec in a CoRS name, SPEAKER_NUMBER_CODEC; "" for uncoded speech, SPEAKER_NUMBER."""
    return utterance.split("_", 2)[2] if utterance.count("_") > 1 else ""


def read_labels(fields, columns, codec, place, codecs):
    """The Labels of a line; classes that its `fields` do not name are those of `codec` in the taxonomy."""
    if class_number("bin", fields[-1], place) == 0:
        return REAL_LABELS
    named = {
        task: class_number(task, fields[column], place) for task, column in columns.items() if fields[column] != "-"
    }
    if 0 in named.values():
        raise InputError(f"{place} calls a class of a spoof REAL: its last field should be bonafide")
    if len(named) == len(TAXONOMY_CLASSES) - 1:
        return Labels(bin=1, **named)
    return labels_of(find_codec(codec, place, codecs))._replace(**named)


def read_list(path, dataset_type, base_dir, codecs=CODEC_TAXONOMY, problems=None):
    """The Clips of a published list of `dataset_type` CoRS or CoSG, in its order; their label is a Labels.

    A clip is called UTTERANCE in CoRS and SYSTEM/UTTERANCE in CoSG, as in the published score files; its path has no
    suffix yet: see with_audio. A misspelt key of the published lists is read as it is meant, and printed. Raises
    InputError, naming file and line, for all that is wrong otherwise (data.protocols explains `problems`), and
    MissingInput when the file does not exist.
    """
    layouts = LAYOUTS[dataset_type]
    misspelt = []

    def parse(number, line):
        fields = line.split()
        place = f"{path}:{number}"
        if len(fields) not in layouts:
            expected = ", ".join(map(str, layouts))
            raise InputError(f"{place} has {len(fields)} fields, expected one of {expected} in a {dataset_type} list")
        group, utterance = fields[:2]
        key = fields[-1]
        for suffix in AUDIO_SUFFIXES:
            utterance = utterance.removesuffix(suffix)
        if utterance.rpartition("/")[2] in ("", ".", ".."):
            raise InputError(f"{place} names the file {fields[1]!r}, expected the name of an utterance")
        if dataset_type == "CoRS":
            name = utterance
            codec = codec_of(utterance)
        else:
            name = f"{group}/{utterance}"
            codec = group
        labels = read_labels(fields, layouts[len(fields)], codec, place, codecs)
        if key.lower() not in TAXONOMY_CLASSES["bin"]:
            misspelt.append(f"{place} reads {key!r}, taken as {TAXONOMY_CLASSES['bin'][labels.bin]}")
        return Clip(name, base_dir / name, labels, place)

    clips = refuse_doubles(parsed(read_lines(path), parse, problems), path, problems)
    if misspelt:
        print(f"note: {misspelt[0]}" + f" ({len(misspelt)} such lines)" * (len(misspelt) > 1))
    return clips


def find_audio(clips):
    """`clips` with the paths of their audio: NAME.flac where it exists, otherwise NAME.wav, which may not exist.

    Raises MissingInput for a folder that does not exist.
    """
    present = {folder: folder_names(folder) for folder in {clip.path.parent for clip in clips}}

    def find(path):
        # Not with_suffix: the names of some codecs hold a dot.
        paths = [path.with_name(path.name + suffix) for suffix in AUDIO_SUFFIXES]
        return next((option for option in paths if option.name in present[path.parent]), paths[-1])

    return [clip._replace(path=find(clip.path)) for clip in clips]


def with_audio(clips, folders_only=False):
    """find_audio(clips). Raises InputError as check_audio does."""
    located = find_audio(clips)
    check_audio(located, folders_only)
    return located
