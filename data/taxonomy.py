"""The taxonomy of CodecFake+ (arXiv 2505.12994): what each codec is made of, in one row each.

Three questions are asked of the codec behind a recording: its auxiliary objective (AUX), its decoder (DEC) and its
vector quantiser (VQ); a fourth asks whether there is one at all (BIN). In each, class 0 is real speech.
"""

import difflib
from collections import namedtuple

from data.protocols import read_lines
from utils.errors import InputError

TAXONOMY_CLASSES = {
    "bin": ("bonafide", "spoof"),
    "aux": ("REAL", "Trad", "SEM", "Disent"),  # no auxiliary objective, semantic distillation, disentanglement
    "dec": ("REAL", "TIME", "FREQ"),  # time or frequency domain
    "vq": ("REAL", "MVQ", "SVQ", "SQ"),  # several codebooks, a single one, scalar quantisation
}
TASKS = tuple(TAXONOMY_CLASSES)
# Other spellings of a class that were published. The paper calls Trad "None".
SPELLINGS = {"none": "trad", "spoofs": "spoof", "bona-fide": "bonafide", "real": "bonafide"}

CodecTraits = namedtuple("CodecTraits", "aux dec vq")  # the class names of a codec
Labels = namedtuple("Labels", TASKS)  # of a clip: its class number in each task
REAL_LABELS = Labels(0, 0, 0, 0)

# fmt: off
# The codecs of CoRS: speech coded and decoded again. A codec is named as in the file names, typing errors included.
CORS = {
    #                                               AUX      DEC     VQ
    "SpeechTokenizer_hubert_avg":             CodecTraits("SEM",    "TIME", "MVQ"),
    "DAC24":                                  CodecTraits("Trad",   "TIME", "MVQ"),
    "HiFi_Codec_16k_320d_large_universal":    CodecTraits("Trad",   "TIME", "MVQ"),
    "Encodec_6b24k":                          CodecTraits("Trad",   "TIME", "MVQ"),
    "Encodec_24b24k":                         CodecTraits("Trad",   "TIME", "MVQ"),
    "FunCodec_zh_en-general-16k-nq32ds320":   CodecTraits("Trad",   "TIME", "MVQ"),
    "FACodec_encodec-decoder-v2_16k":         CodecTraits("Disent", "TIME", "MVQ"),
    "llm_codec":                              CodecTraits("SEM",    "TIME", "MVQ"),
    "snac_24khz":                             CodecTraits("Trad",   "TIME", "MVQ"),
    "snac_44khz":                             CodecTraits("Trad",   "TIME", "MVQ"),
    "xcodec_hubert_libirispeech":             CodecTraits("SEM",    "TIME", "MVQ"),
    "xocdec_hubert_general_audio":            CodecTraits("SEM",    "TIME", "MVQ"),
    "bigcodec":                               CodecTraits("Trad",   "TIME", "SVQ"),
    "ticodec_1g1r":                           CodecTraits("Disent", "TIME", "SVQ"),
    "ticodec_1g2r":                           CodecTraits("Disent", "TIME", "MVQ"),
    "ticodec_1g4r":                           CodecTraits("Disent", "TIME", "MVQ"),
    "mini":                                   CodecTraits("SEM",    "TIME", "MVQ"),
    "sqcodec50dim9":                          CodecTraits("Trad",   "TIME", "SQ"),
    "hilcodec_speech":                        CodecTraits("Trad",   "TIME", "MVQ"),
    "SemantiCodec_1.40kbps_16k":              CodecTraits("SEM",    "FREQ", "MVQ"),
    "SemantiCodec_0.70kbps_16k":              CodecTraits("SEM",    "FREQ", "MVQ"),
    "SemantiCodec_0.35kbps_16k":              CodecTraits("SEM",    "FREQ", "MVQ"),
    "FunCodec_en-libritts-16k-gr1nq32ds320":  CodecTraits("Trad",   "FREQ", "MVQ"),
    "wavtokenizer_small_320_24k_4096":        CodecTraits("Trad",   "FREQ", "SVQ"),
    "wavtokenizer_medium_320_24k_4096":       CodecTraits("Trad",   "FREQ", "SVQ"),
    "languagecodec":                          CodecTraits("Trad",   "FREQ", "MVQ"),
    "vocos_encodec_6":                        CodecTraits("Trad",   "FREQ", "MVQ"),
    "vocos_encodec_12":                       CodecTraits("Trad",   "FREQ", "MVQ"),
    "socodec_16384x4_120ms_16khz_chinese":    CodecTraits("Disent", "FREQ", "MVQ"),
    "audiodec_24k_320d":                      CodecTraits("Trad",   "FREQ", "MVQ"),
    "spectralcodecs":                         CodecTraits("Trad",   "FREQ", "SQ"),
}
# The same codecs under their right names, which occur in no published list.
ALIASES = {
    "xcodec_hubert_librispeech": "xcodec_hubert_libirispeech",
    "xcodec_hubert_general_audio": "xocdec_hubert_general_audio",
    "mimicodec": "mini",
}
# The systems of CoSG: speech generators that speak through a codec.
COSG = {
    #                       AUX      DEC     VQ
    "ELLAV":         CodecTraits("Trad",   "TIME", "MVQ"),
    "VALLE":         CodecTraits("Trad",   "TIME", "MVQ"),
    "GPST":          CodecTraits("Trad",   "TIME", "MVQ"),
    "UNIAUDIO":      CodecTraits("Trad",   "TIME", "MVQ"),
    "TACOLM":        CodecTraits("Trad",   "TIME", "MVQ"),
    "SPEECHX":       CodecTraits("Trad",   "TIME", "MVQ"),
    "RALLE":         CodecTraits("Trad",   "TIME", "MVQ"),
    "CLAMTTS":       CodecTraits("Trad",   "FREQ", "MVQ"),
    "VIOLA":         CodecTraits("Trad",   "TIME", "MVQ"),
    "NS2":           CodecTraits("Trad",   "TIME", "MVQ"),
    "NS3":           CodecTraits("Disent", "TIME", "MVQ"),
    "USLM":          CodecTraits("SEM",    "TIME", "MVQ"),
    "SIMPLESPEECH1": CodecTraits("Trad",   "TIME", "SQ"),
    "SIMPLESPEECH2": CodecTraits("Trad",   "TIME", "SQ"),
    "TI1G1R":        CodecTraits("Disent", "TIME", "SVQ"),
    "SINGLECODEC":   CodecTraits("Disent", "FREQ", "SVQ"),
    "MASKGCT":       CodecTraits("Trad",   "FREQ", "MVQ"),
}
# fmt: on
CODEC_TAXONOMY = {**CORS, **COSG}


def class_number(task, text, place):
    """The number of the class of `task` that `text` names, in upper or lower case; `place` is FILE:LINE.

    Raises InputError when the task has no such class.
    """
    names = [name.lower() for name in TAXONOMY_CLASSES[task]]
    word = text.lower()
    for spelled in (word, SPELLINGS.get(word)):
        if spelled in names:
            return names.index(spelled)
    expected = " ".join(TAXONOMY_CLASSES[task])
    raise InputError(f"{place} gives the {task.upper()} class {text!r}, expected one of {expected}")


def labels_of(codec):
    """The Labels of speech that came through `codec`, a CodecTraits."""
    numbers = {task: TAXONOMY_CLASSES[task].index(getattr(codec, task)) for task in CodecTraits._fields}
    return Labels(bin=1, **numbers)


def find_codec(name, place, codecs=CODEC_TAXONOMY):
    """The CodecTraits of the codec `name`. Raises InputError, with the nearest known name, when it is unknown."""
    traits = codecs.get(ALIASES.get(name, name))
    if traits is None:
        known = [*codecs, *ALIASES]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0) or known[:1]
        raise InputError(
            f"{place} names the codec {name!r}, which is not in the taxonomy; the nearest name is {near[0]!r}."
            " Correct the name, or describe a new codec in the file of --codec_table"
        )
    return traits


def read_codecs(path):
    """CODEC_TAXONOMY and the codecs of a user's table, lines of NAME AUX DEC VQ; without `path`, CODEC_TAXONOMY only.

    Raises InputError for a broken line, and for a known codec with other classes.
    """
    if path is None:
        return CODEC_TAXONOMY
    codecs = dict(CODEC_TAXONOMY)
    for number, line in read_lines(path):
        fields = line.split()
        place = f"{path}:{number}"
        if len(fields) != 4:
            raise InputError(f"{place} reads {line!r}, expected NAME AUX DEC VQ")
        numbers = [class_number(task, text, place) for task, text in zip(CodecTraits._fields, fields[1:], strict=True)]
        if 0 in numbers:
            raise InputError(f"{place} calls the codec {fields[0]} REAL: that is the class of uncoded speech")
        pairs = zip(CodecTraits._fields, numbers, strict=True)
        traits = CodecTraits(*(TAXONOMY_CLASSES[task][label] for task, label in pairs))
        known = codecs.setdefault(fields[0], traits)
        if known != traits:
            raise InputError(f"{place} describes {fields[0]} as {' '.join(traits)}, but it is {' '.join(known)}")
    return codecs
