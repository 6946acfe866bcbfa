"""The taxonomy of CodecFake+ (arXiv 2505.12994): what each codec is made of, in one row each.

Three questions are asked of the codec behind a recording: its auxiliary objective (AUX), its decoder (DEC) and its
vector quantiser (VQ); a fourth asks whether there is one at all (BIN). In each, class 0 is real speech.
"""

import difflib
from collections import namedtuple

from utils.errors import InputError

CLASSES = {
    "bin": ("bonafide", "spoof"),
    "aux": ("REAL", "Trad", "SEM", "Disent"),  # no auxiliary objective, semantic distillation, disentanglement
    "dec": ("REAL", "TIME", "FREQ"),  # time or frequency domain
    "vq": ("REAL", "MVQ", "SVQ", "SQ"),  # several codebooks, a single one, scalar quantisation
}
TASKS = tuple(CLASSES)
# Other spellings of a class that were published. The paper calls Trad "None".
SPELLINGS = {"none": "trad", "spoofs": "spoof", "bona-fide": "bonafide", "real": "bonafide"}

Codec = namedtuple("Codec", "aux dec vq")
Labels = namedtuple("Labels", TASKS)  # of a clip: its class number in each task
REAL = Labels(0, 0, 0, 0)

# fmt: off
# The codecs of CoRS: speech coded and decoded again. A codec is named as in the file names, typing errors included.
CORS = {
    #                                               AUX      DEC     VQ
    "SpeechTokenizer_hubert_avg":             Codec("SEM",    "TIME", "MVQ"),
    "DAC24":                                  Codec("Trad",   "TIME", "MVQ"),
    "HiFi_Codec_16k_320d_large_universal":    Codec("Trad",   "TIME", "MVQ"),
    "Encodec_6b24k":                          Codec("Trad",   "TIME", "MVQ"),
    "Encodec_24b24k":                         Codec("Trad",   "TIME", "MVQ"),
    "FunCodec_zh_en-general-16k-nq32ds320":   Codec("Trad",   "TIME", "MVQ"),
    "FACodec_encodec-decoder-v2_16k":         Codec("Disent", "TIME", "MVQ"),
    "llm_codec":                              Codec("SEM",    "TIME", "MVQ"),
    "snac_24khz":                             Codec("Trad",   "TIME", "MVQ"),
    "snac_44khz":                             Codec("Trad",   "TIME", "MVQ"),
    "xcodec_hubert_libirispeech":             Codec("SEM",    "TIME", "MVQ"),
    "xocdec_hubert_general_audio":            Codec("SEM",    "TIME", "MVQ"),
    "bigcodec":                               Codec("Trad",   "TIME", "SVQ"),
    "ticodec_1g1r":                           Codec("Disent", "TIME", "SVQ"),
    "ticodec_1g2r":                           Codec("Disent", "TIME", "MVQ"),
    "ticodec_1g4r":                           Codec("Disent", "TIME", "MVQ"),
    "mini":                                   Codec("SEM",    "TIME", "MVQ"),
    "sqcodec50dim9":                          Codec("Trad",   "TIME", "SQ"),
    "hilcodec_speech":                        Codec("Trad",   "TIME", "MVQ"),
    "SemantiCodec_1.40kbps_16k":              Codec("SEM",    "FREQ", "MVQ"),
    "SemantiCodec_0.70kbps_16k":              Codec("SEM",    "FREQ", "MVQ"),
    "SemantiCodec_0.35kbps_16k":              Codec("SEM",    "FREQ", "MVQ"),
    "FunCodec_en-libritts-16k-gr1nq32ds320":  Codec("Trad",   "FREQ", "MVQ"),
    "wavtokenizer_small_320_24k_4096":        Codec("Trad",   "FREQ", "SVQ"),
    "wavtokenizer_medium_320_24k_4096":       Codec("Trad",   "FREQ", "SVQ"),
    "languagecodec":                          Codec("Trad",   "FREQ", "MVQ"),
    "vocos_encodec_6":                        Codec("Trad",   "FREQ", "MVQ"),
    "vocos_encodec_12":                       Codec("Trad",   "FREQ", "MVQ"),
    "socodec_16384x4_120ms_16khz_chinese":    Codec("Disent", "FREQ", "MVQ"),
    "audiodec_24k_320d":                      Codec("Trad",   "FREQ", "MVQ"),
    "spectralcodecs":                         Codec("Trad",   "FREQ", "SQ"),
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
    "ELLAV":         Codec("Trad",   "TIME", "MVQ"),
    "VALLE":         Codec("Trad",   "TIME", "MVQ"),
    "GPST":          Codec("Trad",   "TIME", "MVQ"),
    "UNIAUDIO":      Codec("Trad",   "TIME", "MVQ"),
    "TACOLM":        Codec("Trad",   "TIME", "MVQ"),
    "SPEECHX":       Codec("Trad",   "TIME", "MVQ"),
    "RALLE":         Codec("Trad",   "TIME", "MVQ"),
    "CLAMTTS":       Codec("Trad",   "FREQ", "MVQ"),
    "VIOLA":         Codec("Trad",   "TIME", "MVQ"),
    "NS2":           Codec("Trad",   "TIME", "MVQ"),
    "NS3":           Codec("Disent", "TIME", "MVQ"),
    "USLM":          Codec("SEM",    "TIME", "MVQ"),
    "SIMPLESPEECH1": Codec("Trad",   "TIME", "SQ"),
    "SIMPLESPEECH2": Codec("Trad",   "TIME", "SQ"),
    "TI1G1R":        Codec("Disent", "TIME", "SVQ"),
    "SINGLECODEC":   Codec("Disent", "FREQ", "SVQ"),
    "MASKGCT":       Codec("Trad",   "FREQ", "MVQ"),
}
# fmt: on
CODECS = {**CORS, **COSG}


def class_number(task, text, place):
    """The number of the class of `task` that `text` spells, whatever its case; `place` is FILE:LINE.

    Raises InputError for no class of the task.
    """
    names = [name.lower() for name in CLASSES[task]]
    word = text.lower()
    for spelled in (word, SPELLINGS.get(word)):
        if spelled in names:
            return names.index(spelled)
    raise InputError(f"{place} gives the {task.upper()} class {text!r}, expected one of {' '.join(CLASSES[task])}")


def labels_of(codec):
    """The Labels of speech that came through `codec`, a Codec."""
    numbers = {task: CLASSES[task].index(getattr(codec, task)) for task in Codec._fields}
    return Labels(bin=1, **numbers)


def find_codec(name, place, codecs=CODECS):
    """The Codec called `name`. Raises InputError, with the nearest known name, when there is none."""
    found = codecs.get(ALIASES.get(name, name))
    if found is None:
        known = [*codecs, *ALIASES]
        near = difflib.get_close_matches(name, known, n=1, cutoff=0) or known[:1]
        raise InputError(
            f"{place} names the codec {name!r}, which the taxonomy does not know; the nearest is {near[0]!r}."
            " Correct the name, or describe a new codec in the file of --codec_table"
        )
    return found


def read_codecs(path):
    """CODECS and those of a table that a user wrote, lines of NAME AUX DEC VQ; no `path`: CODECS alone.

    Raises InputError for a broken line and for a codec that is there already as another.
    """
    if path is None:
        return CODECS
    from data.protocols import read_lines

    codecs = dict(CODECS)
    for number, line in read_lines(path):
        fields, place = line.split(), f"{path}:{number}"
        if len(fields) != 4:
            raise InputError(f"{place} reads {line!r}, expected NAME AUX DEC VQ")
        numbers = [class_number(task, text, place) for task, text in zip(Codec._fields, fields[1:], strict=True)]
        if 0 in numbers:
            raise InputError(f"{place} calls the codec {fields[0]} REAL: that is the class of uncoded speech")
        row = Codec(*(CLASSES[task][label] for task, label in zip(Codec._fields, numbers, strict=True)))
        if codecs.setdefault(fields[0], row) != row:
            raise InputError(f"{place} describes {fields[0]} as {' '.join(row)}, it is {' '.join(codecs[fields[0]])}")
    return codecs
