"""The taxonomy of CodecFake+ (arXiv 2505.12994): what each codec is made of, in one row each.

Three questions are asked of the codec behind a recording: its auxiliary objective (AUX), its decoder (DEC) and its
vector quantiser (VQ); a fourth asks whether there is one at all (BIN). In each, class 0 is real speech.

CORS and COSG are the tables of the paper. FAMILIES groups their codecs under the names that models of the first system
have for them, and GENERATORS says who speaks through them: describe_codec() looks a name up in both.
"""

import difflib
import re
from collections import namedtuple
from typing import NamedTuple

from data.outliers import OUTLIER
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
OUTLIER_LABELS = Labels(*[OUTLIER] * len(TASKS))

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


class CodecFamily(NamedTuple):
    """One codec in all its configurations."""

    name: str
    rows: tuple = ()  # its configurations in CORS, which have the traits
    traits: CodecTraits | None = None  # where CORS lacks the codec; None in a field that its paper does not settle
    paper: str = ""  # of a codec that CORS lacks: the source of its traits, an arXiv number where there is one
    other_names: tuple = ()


class Generator(NamedTuple):
    """A language model, or another generator of speech, whose paper says that a codec makes its audio."""

    codec: str  # a family
    paper: str  # arXiv number
    cosg: str | None = None  # its row in COSG


UNSETTLED = CodecTraits(aux=None, dec=None, vq=None)

# fmt: off
# Leave out what no paper states: an empty field is better than a wrong one.
FAMILIES = (
    CodecFamily("AudioDec", ("audiodec_24k_320d",)),
    CodecFamily("BigCodec", ("bigcodec",)),
    CodecFamily("DAC", ("DAC24",), other_names=("Descript Audio Codec",)),
    CodecFamily("EnCodec", ("Encodec_6b24k", "Encodec_24b24k")),
    CodecFamily("FACodec", ("FACodec_encodec-decoder-v2_16k",)),
    CodecFamily("FunCodec", ("FunCodec_zh_en-general-16k-nq32ds320", "FunCodec_en-libritts-16k-gr1nq32ds320")),
    CodecFamily("HiFi-Codec", ("HiFi_Codec_16k_320d_large_universal",)),
    CodecFamily("HILCodec", ("hilcodec_speech",)),
    CodecFamily("Language-Codec", ("languagecodec",)),
    CodecFamily("LLM-Codec", ("llm_codec",)),
    CodecFamily("Mimi", ("mini",), other_names=("MimiCodec",)),
    CodecFamily("SemantiCodec", tuple(f"SemantiCodec_{rate}kbps_16k" for rate in ("1.40", "0.70", "0.35"))),
    CodecFamily("SNAC", ("snac_24khz", "snac_44khz")),
    CodecFamily("SoCodec", ("socodec_16384x4_120ms_16khz_chinese",)),
    CodecFamily("Spectral Codec", ("spectralcodecs",)),
    CodecFamily("SpeechTokenizer", ("SpeechTokenizer_hubert_avg",)),
    CodecFamily("SQ-Codec", ("sqcodec50dim9",)),
    CodecFamily("TiCodec", ("ticodec_1g1r", "ticodec_1g2r", "ticodec_1g4r")),
    CodecFamily("Vocos on EnCodec", ("vocos_encodec_6", "vocos_encodec_12"), other_names=("vocos_encodec",)),
    CodecFamily("WavTokenizer", ("wavtokenizer_small_320_24k_4096", "wavtokenizer_medium_320_24k_4096")),
    CodecFamily("X-Codec", ("xcodec_hubert_libirispeech", "xocdec_hubert_general_audio")),
    # Not in CORS:
    CodecFamily("BiCodec", (), UNSETTLED, "2503.01710"),  # one codebook and scalars; semantic tokens and global ones
    CodecFamily("DualCodec", (), CodecTraits(None, "TIME", "MVQ"), "2505.13000"),  # residual codebooks, decoder of DAC
    CodecFamily("FlexiCodec", (), UNSETTLED, "2510.00981"),
    CodecFamily("FreeCodec", (), UNSETTLED, "2412.01053"),
    CodecFamily("Lyra V1", (), UNSETTLED, "2102.09660", ("Lyra1",)),  # a WaveGRU decodes quantised mel spectra
    CodecFamily("Lyra V2", (), CodecTraits("Trad", "TIME", "MVQ"), "2107.03312", ("Lyra2",)),  # it is a SoundStream
    CodecFamily("SRCodec", (), CodecTraits(None, None, "MVQ"), "ICASSP 2024"),  # split residual codebooks
    CodecFamily("SuperCodec", (), CodecTraits(None, "TIME", "MVQ"), "2407.20530"),  # residual codebooks
    CodecFamily("TAAE", (), CodecTraits(None, None, "SQ"), "2411.19842", ("Stable Codec",)),
    CodecFamily("TaDiCodec", (), UNSETTLED, "2508.16790"),
    CodecFamily("X-Codec 2", (), CodecTraits("SEM", "FREQ", "SQ"), "2502.04128", ("X-Codec 2.0",)),
    CodecFamily("XY-Tokenizer", (), CodecTraits(None, None, "MVQ"), "2506.23325"),  # residual codebooks
)
GENERATORS = {
    #                            codec               paper         COSG
    "AnyGPT":          Generator("SpeechTokenizer",  "2402.12226"),
    "ELLA-V":          Generator("EnCodec",          "2401.07333", "ELLAV"),
    "GPST":            Generator("EnCodec",          "2406.00976", "GPST"),
    "Hibiki":          Generator("Mimi",             "2502.03382"),
    "LauraGPT":        Generator("FunCodec",         "2310.04673"),
    "Llasa":           Generator("X-Codec 2",        "2502.04128"),
    "Mini-Omni":       Generator("SNAC",             "2408.16725"),
    "Mini-Omni2":      Generator("SNAC",             "2410.11190"),
    "Moshi":           Generator("Mimi",             "2410.00037"),
    "NaturalSpeech 3": Generator("FACodec",          "2403.03100", "NS3"),
    "Parler-TTS":      Generator("DAC",              "2402.01912"),
    "SimpleSpeech":    Generator("SQ-Codec",         "2406.02328", "SIMPLESPEECH1"),
    "SimpleSpeech 2":  Generator("SQ-Codec",         "2408.13893", "SIMPLESPEECH2"),
    "Spark-TTS":       Generator("BiCodec",          "2503.01710"),
    "SpeechGPT-Gen":   Generator("SpeechTokenizer",  "2401.13527"),
    "SpeechX":         Generator("EnCodec",          "2308.06873", "SPEECHX"),
    "TacoLM":          Generator("EnCodec",          "2406.15752", "TACOLM"),
    "UniAudio 1.5":    Generator("LLM-Codec",        "2406.10056"),
    "USLM":            Generator("SpeechTokenizer",  "2308.16692", "USLM"),
    "VALL-E":          Generator("EnCodec",          "2301.02111", "VALLE"),
    "VALL-E 2":        Generator("Vocos on EnCodec", "2406.05370"),
    "VALL-E X":        Generator("EnCodec",          "2303.03926"),
    "VioLA":           Generator("EnCodec",          "2305.16107", "VIOLA"),
}
# fmt: on
CLASSICAL_CODECS = ("AAC", "AMR", "EVS", "MP3", "Opus", "Speex", "Vorbis")  # signal processing, no neural network
AMBIGUOUS_ROWS = ("mini",)  # of CORS: as the name of a source it says nothing
# After the name of a codec: 24khz, 6kbps, 8q. A 2 is no such word, because X-Codec 2 is another codec than X-Codec.
SETTING = r"(\d+(\.\d+)?(khz|kbps|bps|hz|k|nq|q))+"


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
        known = codecs.setdefault(ALIASES.get(fields[0], fields[0]), traits)
        if known != traits:
            raise InputError(f"{place} describes {fields[0]} as {' '.join(traits)}, but it is {' '.join(known)}")
    return codecs


def plain_name(name):
    """`name` in lower case, without all that is neither a letter nor a digit: EnCodec_24 is encodec24."""
    return re.sub(r"[\W_]", "", name.lower())


def named_codecs():
    """{plain name: (name of the codec or None, its possible CodecTraits)} of all that describe_codec() finds.

    A classical codec has no traits.
    """
    codecs = {plain_name(name): (name, ()) for name in CLASSICAL_CODECS}
    codecs |= {plain_name(name): (None, (traits,)) for name, traits in COSG.items()}
    for family in FAMILIES:
        traits = tuple(CORS[row] for row in family.rows) or (family.traits,)
        rows = [row for row in family.rows if row not in AMBIGUOUS_ROWS]
        codecs |= {plain_name(row): (family.name, (CORS[row],)) for row in rows}
        codecs |= {plain_name(name): (family.name, traits) for name in (family.name, *family.other_names)}
    for name, generator in GENERATORS.items():
        family = codecs[plain_name(generator.codec)]
        codecs |= {plain_name(known): family for known in (name, generator.cosg) if known}
    codecs |= {plain_name(name): codecs[plain_name(row)] for name, row in ALIASES.items() if row not in AMBIGUOUS_ROWS}
    return codecs


NAMED_CODECS = named_codecs()


def describe_codec(name):
    """What the tables say of the codec that a class or a source is named after: a dict for JSON, or None.

    Case, hyphens, underscores and spaces do not matter, and settings may follow (dac_44khz). A generator stands for its
    codec; "a/b" is one of two codecs. The dict has `name` (None where only the traits are known), `kind` (neural or
    classical), `VQ`, `AUX` and `DEC` (a class, "MVQ or SVQ" where configurations differ, or None where the tables do
    not say), `used_by` (a list of generators) and `source`, which is "table". The result is None where the tables do
    not have the name.
    """
    codecs = [describe_one_codec(part) for part in name.split("/")]
    if None in codecs:
        return None
    used_by = [generator for codec in codecs for generator in codec["used_by"]]
    return {key: either([codec[key] for codec in codecs]) for key in codecs[0]} | {"used_by": used_by}


def either(texts):
    """The different ones of `texts`, as "a or b"; None where one of them is None."""
    return None if None in texts else " or ".join(dict.fromkeys(map(str, texts)))


def describe_one_codec(name):
    """What describe_codec() gives of a name that is not "a/b"."""
    words = re.split(r"[\s_-]+", name)
    for count in range(len(words), 0, -1):
        plain = plain_name("".join(words[:count]))
        if plain in NAMED_CODECS and all(re.fullmatch(SETTING, word, re.IGNORECASE) for word in words[count:]):
            codec, traits = NAMED_CODECS[plain]
            parts = {task.upper(): possible_classes(task, traits) for task in ("vq", "aux", "dec")}
            used_by = [generator for generator, row in GENERATORS.items() if row.codec == codec]
            kind = "neural" if traits else "classical"
            return {"name": codec, "kind": kind, **parts, "used_by": used_by, "source": "table"}
    return None


def possible_classes(task, traits):
    """The classes of `task` that occur in `traits`, as text: "MVQ or SVQ"; None where none is known."""
    classes = {getattr(row, task) for row in traits}
    return " or ".join(label for label in TAXONOMY_CLASSES[task] if label in classes) or None
