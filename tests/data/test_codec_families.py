"""The table of codecs in data/taxonomy.py: what describe_codec() says of the name of a class or a source."""

import json
import re
from collections import defaultdict

import pytest

from data.classes import CLASSES, KNOWN_CLASSES, WAVTOKENIZER
from data.conditions import CONDITIONS
from data.taxonomy import (
    ALIASES,
    AMBIGUOUS_ROWS,
    CLASSICAL_CODECS,
    CORS,
    COSG,
    FAMILIES,
    GENERATORS,
    TAXONOMY_CLASSES,
    describe_codec,
    plain_name,
)
from prediction.verdict import NO_SOURCE

PARTS = ("VQ", "AUX", "DEC")


def parts_of(traits):
    """What describe_codec() says of a codec with these CodecTraits."""
    return {"VQ": traits.vq, "AUX": traits.aux, "DEC": traits.dec}


def parts(described):
    return {part: described[part] for part in PARTS}


# ---- names -----------------------------------------------------------------------------------------------------------


def test_every_codec_of_st_codecfake_is_described():
    for name in CLASSES[1 : WAVTOKENIZER + 1]:
        described = describe_codec(name)
        assert described["kind"] == "neural" and plain_name(described["name"]) == name
        assert all(described[part] for part in PARTS)
    assert WAVTOKENIZER == KNOWN_CLASSES  # the classes after it are codecs without a name
    assert [describe_codec(name) for name in (CLASSES[0], *CLASSES[WAVTOKENIZER + 1 :])] == [None] * 5


@pytest.mark.parametrize(
    "label",
    [
        *("audiodec", "bicodec", "dac", "dualcodec", "encodec", "flexicodec", "freecodec", "funcodec", "hificodec"),
        *("languagecodec", "lyra1", "lyra2", "mimi", "semanticodec", "snac", "speechtokenizer", "srcodec"),
        *("supercodec", "taae", "tadicodec", "ticodec", "wavtokenizer", "xcodec2", "xytokenizer"),
    ],
)
def test_public_neural_codecs_are_described(label):
    assert describe_codec(label)["kind"] == "neural"


@pytest.mark.parametrize("name", ["opus", "Speex", "EVS", "opus-6k"])
def test_classical_codecs_are_not_in_the_taxonomy(name):
    described = describe_codec(name)
    assert described["kind"] == "classical" and described["used_by"] == []
    assert parts(described) == dict.fromkeys(PARTS)


@pytest.mark.parametrize(
    "name, codec",
    [
        *((name, "EnCodec") for name in ("EnCodec", "encodec", "en-codec", "Encodec_6b24k", "encodec 24khz")),
        *((name, "X-Codec") for name in ("xcodec", "x_codec", "xcodec_hubert_librispeech", "xcodec_16khz")),
        *((name, "X-Codec 2") for name in ("xcodec2", "X-Codec-2", "xcodec_2", "X-Codec 2.0")),
        *((name, "Mimi") for name in ("mimi", "mimicodec", "mimi_8q", "mimi-1.1kbps")),
        *((name, "SemantiCodec") for name in ("semanticodec", "SemantiCodec_1.40kbps_16k", "semanticodec_1.35kbps")),
        *((name, "DAC") for name in ("dac", "DAC24", "dac_44khz", "dac-16khz-8q")),
        *((name, "Vocos on EnCodec") for name in ("vocos_encodec", "vocos_encodec_6")),
    ],
)
def test_case_separators_and_settings_do_not_matter(name, codec):
    assert describe_codec(name)["name"] == codec


@pytest.mark.parametrize(
    "name",
    [
        *(*NO_SOURCE, "real", "larch", "birch", "ood8", "", "24khz", "-", "mini", "vocos", "xcodec_3", "encodec_vocos"),
        *("my dac", "\N{GREEK SMALL LETTER MU}mimi"),
    ],
)
def test_other_names_are_not_in_the_table(name):
    assert describe_codec(name) is None


def test_no_name_stands_for_two_codecs():
    owners = defaultdict(set)
    for family in FAMILIES:
        for name in (family.name, *family.other_names, *family.rows):
            owners[plain_name(name)].add(family.name)
    for name in CLASSICAL_CODECS:
        owners[plain_name(name)].add(name)
    for name, generator in GENERATORS.items():
        owners[plain_name(name)].add(f"generator {name}")
        owners[plain_name(generator.cosg or name)].add(f"generator {name}")
    assert {name: owner for name, owner in owners.items() if len(owner) > 1} == {}
    assert "" not in owners


# ---- facts -----------------------------------------------------------------------------------------------------------


def test_every_codec_of_cors_belongs_to_one_family_and_keeps_its_traits():
    rows = [row for family in FAMILIES for row in family.rows]
    assert sorted(rows) == sorted(CORS)
    assert set(AMBIGUOUS_ROWS) <= set(CORS)
    for row in set(CORS) - set(AMBIGUOUS_ROWS):
        # A family may have the name of its row; then the family is meant, all configurations together.
        if plain_name(row) not in {plain_name(family.name) for family in FAMILIES}:
            assert parts(describe_codec(row)) == parts_of(CORS[row])
    for alias, row in ALIASES.items():
        assert parts(describe_codec(alias)) == parts_of(CORS[row])


def test_configurations_that_differ_are_all_named():
    assert describe_codec("ticodec")["VQ"] == "MVQ or SVQ"
    assert describe_codec("ticodec_1g1r")["VQ"] == "SVQ" and describe_codec("ticodec_1g2r")["VQ"] == "MVQ"
    assert describe_codec("funcodec")["DEC"] == "TIME or FREQ"


def test_traits_outside_cors_are_classes_of_the_taxonomy_with_a_source():
    for family in FAMILIES:
        assert bool(family.rows) == (family.traits is None) == (family.paper == "")
        for task in ("vq", "aux", "dec") if family.traits else ():
            assert getattr(family.traits, task) in (None, *TAXONOMY_CLASSES[task][1:])


def test_every_system_of_cosg_has_the_traits_of_its_row():
    """The same traits on two ways: a generator's codec, from CORS, and its own row in COSG."""
    for system, traits in COSG.items():
        described = describe_codec(system)
        assert described["kind"] == "neural" and parts(described) == parts_of(traits)
    assert describe_codec("VALLE") == describe_codec("vall-e") == describe_codec("encodec")
    assert describe_codec("UNIAUDIO")["name"] is None  # its codec has no name


def test_generators_speak_through_a_codec_of_the_table_and_cite_their_paper():
    families = {family.name for family in FAMILIES}
    for name, generator in GENERATORS.items():
        assert generator.codec in families and re.fullmatch(r"\d{4}\.\d{5}", generator.paper)
        assert generator.cosg is None or generator.cosg in COSG
        assert name in describe_codec(generator.codec)["used_by"]


def test_the_language_models_of_st_codecfake_use_the_codec_of_their_condition():
    rows = [row for row in CONDITIONS if row.suite == "alm"]
    assert len(rows) == 4
    for row in rows:
        users = [plain_name(user) for user in describe_codec(CLASSES[row.label])["used_by"]]
        assert plain_name(row.name) in users


def test_the_description_fits_into_json():
    described = describe_codec("mimi")
    assert json.loads(json.dumps(described)) == described
    assert described == {
        **{"name": "Mimi", "kind": "neural", "VQ": "MVQ", "AUX": "SEM", "DEC": "TIME"},
        **{"used_by": ["Hibiki", "Moshi"], "source": "table"},
    }
    assert list(describe_codec("opus")) == list(described)


def test_codecs_that_cannot_be_told_apart_are_described_together():
    both = describe_codec("supercodec/srcodec")
    assert (both["name"], both["kind"], both["VQ"], both["DEC"]) == ("SuperCodec or SRCodec", "neural", "MVQ", None)
    both = describe_codec("snac/wavtokenizer")
    assert (both["VQ"], both["DEC"], both["used_by"]) == ("MVQ or SVQ", "TIME or FREQ", ["Mini-Omni", "Mini-Omni2"])
    assert describe_codec("snac/larch") is None
