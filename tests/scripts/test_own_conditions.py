"""Test conditions of the user's own, from a TOML file: traced, evaluated, reported; and broken files by place."""

import json

import pytest

import evaluate_id_source
import evaluate_id_unseenreal
import ood_detector_e2e
import report
import source_tracing_id_other
import source_tracing_ood
from config import Config
from data.conditions import select
from utils.errors import InputError, MissingInput

OWN = """
[[condition]]
name = "podcasts"
kind = "real"
audio = "{corpus}/ID_unseen_real/NCSSD"

[[condition]]
name = "snac-2"
kind = "known"
class = "snac"
audio = "snac.csv"

[[condition]]
name = "newcodec"
kind = "unseen"
audio = "{corpus}/OOD_diff_source/NCSSD_wavtokenizer"
"""


@pytest.fixture
def own(corpus, trained, tmp_path):
    """(flags of all scripts, flags of a model) with three conditions of the user's own."""
    (tmp_path / "own.toml").write_text(OWN.replace("{corpus}", str(corpus)))
    names = sorted(path.name for path in (corpus / "ID_diff_source/NCSSD-snac").iterdir())
    (tmp_path / "snac.csv").write_text("file\n" + "".join(f"{corpus}/ID_diff_source/NCSSD-snac/{n}\n" for n in names))
    model = ["--model_folder", str(trained / "model"), "--save_feats", str(tmp_path / "feats"), "--num_workers", "0"]
    return ["--own_conditions", str(tmp_path / "own.toml"), "--result", str(tmp_path / "result")], model


def test_they_stand_beside_the_built_in_ones(own, corpus, trained, tmp_path, capsys):
    flags, model = own
    source_tracing_id_other.main([*flags, *model, "--condition", "podcasts", "snac-2"])
    source_tracing_ood.main([*flags, *model, "--condition", "newcodec"])
    rows = {}
    for script, name in ((evaluate_id_source, "snac-2"), (evaluate_id_unseenreal, "podcasts")):
        script.main([*flags, "--condition", name, "--json", str(tmp_path / "a.json")])
        [rows[name]] = json.loads((tmp_path / "a.json").read_text())["conditions"]
    assert [(row["condition"], row["class"], row["files"]) for row in rows.values()] == [
        ("snac-2", 6, 2),
        ("podcasts", 0, 2),
    ]
    for name in ("traindict.pt", "devdict.pt", "evaldict_id.pt"):
        (tmp_path / "feats" / name).symlink_to(trained / "save_feats" / name)
    command = [*flags, "--save_feats", str(tmp_path / "feats"), "--ood_detector_name", "msp"]
    ood_detector_e2e.main([*command, "--condition", "newcodec", "--json", str(tmp_path / "ood.json")])
    assert json.loads((tmp_path / "ood.json").read_text())["clips"]["newcodec"] == 2
    report.main([*command, "--model_folder", str(trained / "model"), "--data_root", str(corpus)])
    content = json.loads((tmp_path / "result/report.json").read_text())["evaluations"]
    assert [row["condition"] for row in content["id_source"]["conditions"]] == ["snac-2"]
    assert content["ood"]["clips"]["newcodec"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = ", " is not a readable TOML file: Invalid value (at end of document)"),
        ("", " holds nothing, expected only [[condition]], once or more"),
        ("a = " + 5000 * "9", " is not a readable TOML file: Exceeds the limit (4300 digits) for integer string"),
        ("a = " + 5000 * "[", " is not a readable TOML file: "),
        ("[condition]\nname = 'a'", " holds condition, expected only [[condition]], once or more"),
        ("[[condition]]\nname = 'a'\nkind = 'real'", ": condition 1 has no audio"),
        ("[[condition]]\nname = 'a'\nkind = 'known'\naudio = 'x'", ": condition 1 has no class"),
        (
            "[[condition]]\nname = 'a'\nkind = 'fake'\naudio = 'x'",
            ": condition 1 has the kind fake, expected real, known",
        ),
        ("[[condition]]\nname = 3", ": condition 1 has name = 3, expected text in quotes"),
        ("[[condition]]\npath = 'x'", ": condition 1 has the key path, expected name, kind, audio, class"),
        (
            "[[condition]]\nname = '../a'\nkind = 'real'\naudio = 'x'",
            ": condition 1 has the name '../a', expected letters, digits and - . _",
        ),
        (
            "[[condition]]\nname = 'a'\nkind = 'real'\naudio = 'x'\nclass = 'real'",
            ": condition 1 has a class, but only those of kind known have one",
        ),
        (
            2 * "[[condition]]\nname = 'a'\nkind = 'real'\naudio = 'x'\n",
            " has two conditions of the name a: rename one",
        ),
        (
            "[[condition]]\nname = 'moshi'\nkind = 'real'\naudio = 'x'",
            ": there is a condition of the name moshi already: rename yours",
        ),
        (
            "[[condition]]\nname = 'a'\nkind = 'known'\naudio = 'x'\nclass = 'dac'",
            ": a is of the class dac, which the model lacks: expected one of real, mimi, speechtokenizer, funcodec,",
        ),
    ],
)
def test_a_broken_file_is_named(tmp_path, text, message):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        select(Config(own_conditions=path), "source", "unseen_real")
    assert str(caught.value).startswith(f"{path}{message}")


def test_absent_files_are_named(tmp_path):
    path = tmp_path / "own.toml"
    with pytest.raises(MissingInput, match=r"own.toml does not exist: give the file of --own_conditions"):
        select(Config(own_conditions=path), "source")
    path.write_text("[[condition]]\nname = 'a'\nkind = 'real'\naudio = 'x'")
    config = Config(own_conditions=path, condition=("a",))
    [row] = select(config, "unseen_real")
    with pytest.raises(MissingInput, match=r"/x, named by .*own.toml, does not exist"):
        row.clips(config)
