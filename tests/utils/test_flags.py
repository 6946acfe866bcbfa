"""utils/flags.py: what --help shows, aliases, and flags of other scripts on a shared command line."""

import os
import re
from pathlib import Path

import pytest
from helpers import ROOT, run_script

from config import Config
from config_taxonomy import TaxonomyConfig
from prediction.settings import TraceConfig
from utils.flags import default_text, is_default, parse_flags

MOST_FLAGS = 40  # of one script; each shows only those that it uses


def shown(script):
    done = run_script(f"{script}.py", "--help")
    assert done.returncode == 0, done.stderr
    return re.findall(r"^  (?:-\w,? \S+ ?)?.*?(--\w+)", done.stdout, re.M)


@pytest.mark.parametrize("script", ["evaluate_alm", "evaluate_id_f1", "evaluate_id_config"])
def test_help_of_an_evaluation_shows_only_what_it_uses(script):
    flags = shown(script)
    assert "--result" in flags and "--lr" not in flags and len(flags) <= 16


def test_an_evaluation_shows_the_paths_of_its_own_conditions():
    assert "--ALM_moshi" in shown("evaluate_alm")
    assert "--ALM_moshi" not in shown("evaluate_id_config")


@pytest.mark.parametrize("script", sorted(path.stem for path in ROOT.glob("*.py") if path.stem not in ("config",)))
def test_help_is_short(script):
    assert len(set(shown(script))) <= (100 if script.startswith("config") else MOST_FLAGS)


@pytest.mark.parametrize("script", ["main_train", "source_tracing_id", "probe_layers", "check_data"])
def test_what_reads_lists_says_how_to_name_their_format(script):
    assert {"--train_list", "--label_column", "--list_audio", "--list_format"} <= set(shown(script))


def test_flags_of_other_scripts_are_accepted():
    config = parse_flags("", ["--lr", "0.1", "--result", "r"], Config, "result")
    assert config.lr == 0.1 and str(config.result) == "r"


def test_a_default_inside_the_project_does_not_depend_on_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert TraceConfig().model_folder == ROOT / "pretrained/real-codecs"
    assert str(TraceConfig(model_folder=Path("models/w2v")).model_folder) == "models/w2v"


def test_a_path_below_data_root_is_the_default_wherever_data_root_is():
    assert is_default(Config(), "train_wav") and is_default(Config(data_root=Path("elsewhere")), "train_wav")
    assert not is_default(Config(train_wav=Path("elsewhere")), "train_wav")
    assert is_default(TraceConfig(), "model_folder")
    assert not is_default(TraceConfig(model_folder=Path("models/w2v")), "model_folder")


def test_an_unknown_flag_ends_with_status_2(capsys):
    with pytest.raises(SystemExit) as ended:
        parse_flags("", ["--learning_rate", "1"], Config)
    assert ended.value.code == 2 and "unrecognized arguments: --learning_rate" in capsys.readouterr().err


def test_the_former_name_of_a_flag_still_works():
    assert str(parse_flags("", ["--model_path", "m1"], TaxonomyConfig).model_folder) == "m1"


def test_a_number_out_of_range_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_flags("", ["--num_classes", "1"], Config)
    assert "1 is out of range: expected 2 <= value < inf" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("default", "text"),
    [(None, ""), (False, ""), ((), ""), ("", ""), (0, " (default: 0)"), (("p226", "p229"), " (default: p226 p229)")],
)
def test_defaults_are_shown_as_they_are_typed(default, text):
    assert default_text(default) == text


@pytest.mark.parametrize("given, then", [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_waiting_threads_give_their_processor_back_before_torch_is_there(given, then):
    shown = (
        "import os, sys; from config import Config; from utils.flags import parse_flags; parse_flags('', [], Config);"
        " print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"} | given
    assert run_script("-c", shown, env=environment).stdout.split() == [then, "False"]
