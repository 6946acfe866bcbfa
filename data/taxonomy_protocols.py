"""Readers of the CodecFake+ lists: lines of blank-separated fields, without a header."""

from data.protocols import Clip, check_audio, folder_names, parsed, read_lines, refuse_doubles
from data.taxonomy import CLASSES, CODECS, REAL, Labels, class_number, find_codec, labels_of
from utils.errors import InputError

AUDIO_SUFFIXES = (".flac", ".wav")  # in the order in which they are tried
# Where a line of so many fields names the classes. The first field is the speaker or the system, the second the
# utterance, the last bonafide or spoof; a field that is "-" tells nothing.
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
# How the lists of each --sampling_strategy are called: balanced over this task's classes of spoof.
LIST_NAMES = {
    "AUX": "{}_mult_learn.txt",
    "DEC": "{}_mult_learn_bal_dec.txt",
    "VQ": "{}_mult_learn_bal_vq.txt",
}


def codec_of(utterance):
    """The codec in a CoRS name, SPEAKER_NUMBER_CODEC; "" for uncoded speech, SPEAKER_NUMBER."""
    return utterance.split("_", 2)[2] if utterance.count("_") > 1 else ""


def read_labels(fields, columns, codec, place, codecs):
    """The Labels that a line's `fields` tell; what its class columns leave open, the taxonomy of `codec` fills in."""
    if class_number("bin", fields[-1], place) == 0:
        return REAL
    told = {
        task: class_number(task, fields[column], place) for task, column in columns.items() if fields[column] != "-"
    }
    if 0 in told.values():
        raise InputError(f"{place} calls a class of a spoof REAL: its last field should be bonafide")
    if len(told) == len(CLASSES) - 1:
        return Labels(bin=1, **told)
    return labels_of(find_codec(codec, place, codecs))._replace(**told)


def read_list(path, dataset_type, base_dir, codecs=CODECS, problems=None):
    """The Clips of a published list of `dataset_type` CoRS or CoSG, in its order; their label is a Labels.

    A clip is called UTTERANCE in CoRS and SYSTEM/UTTERANCE in CoSG, as in the published score files; its path has no
    suffix yet, see with_audio. A misspelt key of the published lists is read as it is meant, and reported. Raises
    InputError, naming file and line, for whatever else is wrong (see data.protocols of `problems`), MissingInput when
    there is no such file.
    """
    layouts, misspelt = LAYOUTS[dataset_type], []

    def parse(number, line):
        fields, place = line.split(), f"{path}:{number}"
        if len(fields) not in layouts:
            expected = ", ".join(map(str, layouts))
            raise InputError(f"{place} has {len(fields)} fields, expected one of {expected} in a {dataset_type} list")
        group, utterance, key = fields[0], fields[1], fields[-1]
        for suffix in AUDIO_SUFFIXES:
            utterance = utterance.removesuffix(suffix)
        name, codec = (utterance, codec_of(utterance)) if dataset_type == "CoRS" else (f"{group}/{utterance}", group)
        labels = read_labels(fields, layouts[len(fields)], codec, place, codecs)
        if key.lower() not in CLASSES["bin"]:
            misspelt.append(f"{place} reads {key!r}, taken as {CLASSES['bin'][labels.bin]}")
        return Clip(name, base_dir / name, labels, place)

    clips = refuse_doubles(parsed(read_lines(path), parse, problems), path, problems)
    if misspelt:
        print(f"note: {misspelt[0]}" + f" ({len(misspelt)} such lines)" * (len(misspelt) > 1))
    return clips


def find_audio(clips):
    """`clips` with the paths of their audio, NAME.flac or else NAME.wav, whether that is there or not.

    Raises MissingInput for a folder that is not there.
    """
    present = {folder: folder_names(folder) for folder in {clip.path.parent for clip in clips}}

    def find(path):
        # Not with_suffix: the names of some codecs hold a dot.
        paths = [path.with_name(path.name + suffix) for suffix in AUDIO_SUFFIXES]
        return next((found for found in paths if found.name in present[path.parent]), paths[-1])

    return [clip._replace(path=find(clip.path)) for clip in clips]


def with_audio(clips, folders_alone=False):
    """find_audio(clips). Raises InputError as check_audio does."""
    found = find_audio(clips)
    check_audio(found, folders_alone)
    return found
