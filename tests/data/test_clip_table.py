"""Tables of clips in every form that people write them, and published protocols as tables."""

import unicodedata

import pytest
from helpers.lists import make_files, write_table

from config import Config
from data.clip_lists import read_role
from data.clip_table import read_clip_table, read_table
from data.corpus_formats import CORPUS_FORMATS
from utils.errors import InputError

CSV = 'file,label,note\n"a, b.wav",real,x\ncafé.wav,a,"he said ""no"""\n'


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (CSV.encode(), ""),
        (CSV.encode("utf-8-sig"), ""),
        (CSV.replace("\n", "\r\n").encode(), ""),
        (CSV.replace('"a, b.wav"', "a, b.wav").replace(",r", "\tr").encode().replace(b",label,", b"\tlabel\t"), None),
        (CSV.encode("utf-16"), ": it was read as UTF-16"),
        (CSV.encode("utf-16-le"), ": it was read as UTF-16"),
        (CSV.encode("utf-16-be"), ": it was read as UTF-16"),
        (b'{"file": "a, b.wav", "label": "real", "n": 1}\n\n{"file": "caf\\u00e9.wav", "label": "a"}\n', ""),
    ],
    ids=["utf-8", "bom", "crlf", "tsv", "utf-16", "utf-16-le", "utf-16-be", "jsonl"],
)
def test_a_table_may_be_written_in_many_ways(tmp_path, content, note, capsys):
    make_files(tmp_path, "a, b.wav", "café.wav")
    if note is None:
        content, note = "file\tlabel\na, b.wav\treal\ncafé.wav\ta\n".encode(), ""
    table = write_table(tmp_path, content)
    clips = read_table(table).clips
    assert [(clip.path, clip.label) for clip in clips] == [
        (tmp_path / "a, b.wav", "real"),
        (tmp_path / "café.wav", "a"),
    ]
    read_table(table)
    assert capsys.readouterr().out == (f"{table}{note}\n" if note else "")  # printed once


def test_a_table_that_excel_wrote(tmp_path):
    make_files(tmp_path, "a.wav", "b.wav")
    table = write_table(tmp_path, "sep=;\r\nfile;label;n\r\na.wav;real;0,5\r\nb.wav;x;\r\n")
    assert [(clip.name, clip.label, clip.source) for clip in read_table(table).clips] == [
        ("a.wav", "real", f"{table}:3"),
        ("b.wav", "x", f"{table}:4"),
    ]
    workbook = write_table(tmp_path, b"PK\x03\x04" + bytes(100), "clips.xlsx")
    with pytest.raises(InputError) as caught:
        read_table(workbook)
    assert str(caught.value) == f"{workbook} is a ZIP file, as those of Excel are: save the table as CSV in UTF-8"


def test_a_table_is_not_a_protocol_because_of_one_line(tmp_path, capsys):
    """`b.wav, fake one` looks like a line of a label file."""
    make_files(tmp_path, "a.wav", "b.wav")
    table = write_table(tmp_path, "file, label\na.wav, real\nb.wav, fake one\n")
    assert [(clip.name, clip.label) for clip in read_table(table).clips] == [("a.wav", "real"), ("b.wav", "fake one")]
    assert capsys.readouterr().out == ""


def test_usual_names_of_columns_are_understood(tmp_path, capsys):
    table = write_table(tmp_path, "Path,Label,SPLIT\n1.wav,real,train\n2.wav,a,test\n")
    assert [clip.name for clip in read_role(Config(train_list=table), "train")] == ["1.wav"]
    renamed = "its column Path was read as file; its column Label was read as label; its column SPLIT was read as split"
    assert capsys.readouterr().out == f"{table}: {renamed}\n"
    table = write_table(tmp_path, "file,Class\n1.wav,real\n", "class.csv")
    assert [clip.label for clip in read_table(table).clips] == ["real"]
    assert capsys.readouterr().out == f"{table}: its column Class was read as label\n"
    table = write_table(tmp_path, "path,file,label,class\nx,1.wav,real,y\n", "both.csv")
    assert [clip.name for clip in read_table(table).clips] == ["1.wav"] and not capsys.readouterr().out


def test_files_are_found_under_another_name(tmp_path, capsys):
    decomposed = unicodedata.normalize("NFD", "é")
    make_files(tmp_path, "x/a.flac", "x/B.WAV", f"x/{decomposed}.wav", f"{decomposed}/c.ogg", "LA_E_1.flac")
    text = "file,label,page\nx/a.wav,bonafide,1\nx\\B.wav,a,1\nx/é.wav,a,1\né/c.ogg,a,1\nLA_E_1,a,1\n"
    table = write_table(tmp_path, text)
    clips = read_clip_table(table, "page")
    expected = ["x/a.flac", "x/B.WAV", f"x/{decomposed}.wav", f"{decomposed}/c.ogg", "LA_E_1.flac"]
    assert [clip.path for clip in clips] == [tmp_path / name for name in expected]
    assert clips[0].label == "real" and clips[0].name == "x/a.wav"
    assert sorted(capsys.readouterr().out.removeprefix(f"{table}: ").strip().split("; ")) == [
        "1 labels such as bonafide were read as real",
        "1 paths were read with / in place of \\",
        "2 files were found under another Unicode form of their name",
        "3 files were found under another extension",
    ]
    make_files(tmp_path, "x/a.mp3")
    table = write_table(tmp_path, text, "again.csv")
    with pytest.raises(InputError) as caught:
        read_clip_table(table, "page")
    assert str(caught.value) == (
        f"{table}:2: {tmp_path / 'x/a.wav'} does not exist, but a.flac and a.mp3 do: keep one of them"
    )


# ---- published protocols ---------------------------------------------------------------------------------------------

PROTOCOLS = {
    "asvspoof2019-la": ("S1 LA_T_1 - - bonafide\nS2 LA_T_2 - A01 spoof\n", ["LA_T_1", "LA_T_2"], "A01"),
    "asvspoof2021-la": (
        "S1 LA_E_1 alaw ita_tx bonafide bonafide notrim eval\nS2 LA_E_2 g722 loc_tx A07 spoof notrim progress\n",
        *(["LA_E_1", "LA_E_2"], "A07"),
    ),
    "asvspoof2021-df": (
        "S1 DF_E_1 nocodec asvspoof - bonafide notrim eval bonafide - - - -\n"
        "S2 DF_E_2 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder_nonautoregressive Task1 team20 FF E\n",
        *(["DF_E_1", "DF_E_2"], "Task1-team20"),
    ),
    "asvspoof5": (
        "T_1 T_0000000001 F - - - - bonafide bonafide -\nT_2 T_0000000002 M - - - AC3 A05 spoof -\n",
        *(["T_0000000001", "T_0000000002"], "A05"),
    ),
    "in-the-wild": (
        "file,speaker,label\n0.wav,A Speaker,bona-fide\n1.wav,Another,spoof\n",
        *(["0.wav", "1.wav"], "spoof"),
    ),
    "label-file": ("a.wav real 0\nb.wav fake 3\n", ["a.wav", "b.wav"], "3"),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_published_protocol_is_a_list(tmp_path, name, capsys):
    text, names, attack = PROTOCOLS[name]
    table = write_table(tmp_path, text, "protocol.txt")
    clips = read_table(table).clips
    assert [(clip.name, clip.label) for clip in clips] == [(names[0], "real"), (names[1], attack)]
    assert capsys.readouterr().out.startswith(f"{table}: it was read as {CORPUS_FORMATS[name].title}")


def test_another_column_may_name_the_class(tmp_path):
    table = write_table(tmp_path, PROTOCOLS["asvspoof5"][0])
    assert [clip.label for clip in read_role(Config(train_list=table, label_column="key"), "train")] == [
        "real",
        "spoof",
    ]
    table = write_table(tmp_path, "file,codec\n1.wav,real\n2.wav,aac\n3.wav,\n", "own.csv")
    with pytest.raises(InputError, match=r"own.csv:4 has nothing in the column codec"):
        read_role(Config(train_list=table, label_column="codec"), "train")
    with pytest.raises(InputError, match=r"own.csv:1 has no column kind: expected file and kind"):
        read_role(Config(train_list=table, label_column="kind"), "train")


MLAAD = "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"


def test_the_table_of_mlaad_is_a_list(tmp_path):
    row = 'fake/en/x/en_1.wav|a/by/b/1.wav|en|True|3.2|lj|tts/vits|vits|He said: "No, no.\n'
    [clip] = read_table(write_table(tmp_path, MLAAD + row)).clips
    assert (clip.name, clip.label, clip.columns["language"]) == ("en_1.wav", "tts/vits", "en")


def test_the_whole_tree_of_mlaad_is_a_list(tmp_path):
    for language, model in (("en", "vits"), ("de", "vits"), ("de", "bark")):
        folder = tmp_path / "MLAAD/fake" / language / model
        folder.mkdir(parents=True)
        rows = [f"fake/{language}/{model}/{n}.wav|a|{language}|True|3|lj|{model}|x|Yes.\n" for n in (1, 2)]
        (folder / "meta.csv").write_text(MLAAD + "".join(rows))
        for number in (1, 2)[: 1 + (model == "vits")]:
            (folder / f"{number}.wav").touch()
    table = read_table(tmp_path / "MLAAD")
    assert [clip.label for clip in table.clips] == ["bark"] * 2 + ["vits"] * 4
    assert [clip.columns["language"] for clip in table.clips] == ["de"] * 4 + ["en"] * 2
    absent = tmp_path / "MLAAD/fake/de/bark/meta.csv"
    assert table.missing == {1: f"{absent}:3 names {absent.with_name('2.wav')}, which does not exist"}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_broken_line_of_a_protocol_is_named(tmp_path, name):
    row = CORPUS_FORMATS[name]
    text = PROTOCOLS[name][0]
    *lines, last = text.splitlines()
    key = row.fields(last)[row.columns.index(row.key)]
    wrong = last.replace(f"{row.delimiter or ' '}{key}", f"{row.delimiter or ' '}spof")
    short = (row.delimiter or " ").join(row.fields(last)[:-1])
    table = write_table(tmp_path, "\n".join([*lines, wrong, short]) + "\n")
    number = len(lines) + 1
    with pytest.raises(InputError) as caught:
        read_role(Config(train_list=table, list_format=name), "train")
    words = " or ".join(row.keys)
    assert str(caught.value) == (
        f"{table}:{number} has the {row.key} 'spof', expected {words} (2 lines cannot be used)"
    )
    columns = len(row.columns)
    assert read_table(table, format_name=name).problems[1] == (
        f"{table}:{number + 1} has {columns - 1} fields, expected the {columns} of {row.title}: {' '.join(row.columns)}"
    )
