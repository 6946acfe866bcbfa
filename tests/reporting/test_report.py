"""report.py: its metrics are those of the evaluation scripts, its page is whole and needs no network."""

import importlib
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from helpers import run_script, set_screen

import report
from reporting.evaluations import EVALUATIONS, Evaluation
from reporting.page import render_page
from reporting.pieces import Bullets, Folded, Paragraph, Plot, Table, Tiles
from utils.errors import InputError, MissingInput

SCRIPTS = {"id_f1": "evaluate_id_f1", "alm": "evaluate_alm", "open_set": "evaluate_open_set"}
HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
EVERY_PLOT = ["confusion", "conditions", "detectors", "histograms", "roc", "det", "embeddings", "training"]
EVERY_PLOT += ["risk-coverage-held_out"]


def flags(folder, corpus, *more):
    parts = [flag for part in ("result", "save_feats") for flag in (f"--{part}", str(folder / part))]
    model = ["--model_folder", str(folder / "model"), "--data_root", str(corpus)]
    return [*parts, *model, "--resamples", "50", *map(str, more)]


@pytest.fixture(scope="module")
def reported(trained, calibrated, corpus, tmp_path_factory):
    """A calibrated run with its report, the metrics of two other scripts beside it."""
    folder = tmp_path_factory.mktemp("reported")
    for part, source in (("model", calibrated), ("save_feats", calibrated), ("result", trained)):
        shutil.copytree(source / part, folder / part)
    rows = [{"k": 5, "eer": 12.5, "eer_interval": [10.0, 15.0], "sd": {"eer": 1.5}}]
    (folder / "result/enrolment.json").write_text(json.dumps({"draws": 3, "figures": rows}))
    held_out = {"clips": 9, "groups": 2, "macro_f1": 61.5, "macro_f1_interval": [52.25, 71.75], "labels": []}
    held_out["risk_coverage"] = [{"coverage": 10, "right": 100.0}, {"coverage": 100, "right": 57.5}]
    (folder / "result/held_out.json").write_text(json.dumps(held_out))
    report.main(flags(folder, corpus))
    return folder


@pytest.fixture(scope="module")
def content(reported):
    return json.loads((reported / "result/report.json").read_text())


@pytest.fixture(scope="module")
def document(reported):
    """The page, read as XML, which is stricter than any browser."""
    return ElementTree.fromstring((reported / "result/report.html").read_text().partition("\n")[2])


def words(element):
    return "".join(element.itertext())


def test_metrics_are_those_of_the_scripts(reported, corpus, content, document, tmp_path):
    assert content["missing"] == {} and list(content["evaluations"]) == [row.name for row in EVALUATIONS]
    for name, script in SCRIPTS.items():
        module = importlib.import_module(script)
        module.main(flags(reported, corpus, "--json", tmp_path / f"{name}.json"))
        assert json.loads((tmp_path / f"{name}.json").read_text()) == content["evaluations"][name]
    shown = words(document)
    metrics = content["evaluations"]
    low, high = metrics["id_f1"]["macro_f1_interval"]
    assert f"{metrics['id_f1']['macro_f1']:.2f} [{low:.1f}, {high:.1f}]" in shown
    for row in metrics["ood"]["figures"]:
        low, high = row["auc_interval"]
        assert f"{row['auc']:.2f} [{low:.1f}, {high:.1f}]" in shown
    assert "99.93" in shown  # the paper's Table 5


def test_every_plot_has_its_numbers_and_an_alternative_text(content, document):
    drawn = document.findall(f".//{HTML}figure")
    assert [element.get("id") for element in drawn] == [f"plot-{name}" for name in content["figures"]]
    assert sorted(content["figures"]) == sorted(EVERY_PLOT)
    for element, numbers in zip(drawn, content["figures"].values(), strict=True):
        assert element.find(f"{SVG}svg").get("aria-label").startswith(numbers["title"])
        rows = element.findall(f".//{HTML}tbody/{HTML}tr")
        assert len(rows) == len(numbers["rows"]) > 0
        assert [words(head) for head in element.findall(f".//{HTML}th")] == numbers["header"]
    roc = content["figures"]["roc"]["rows"]
    auc = {row["condition"]: row for row in content["evaluations"]["ood"]["figures"] if row["detector"] == "knn"}
    at_95 = next(row for row in roc if row[0] == 95)
    assert at_95[1:] == pytest.approx([row["fpr95"] for row in auc.values()])
    counts = [row[1:] for row in content["figures"]["confusion"]["rows"]]
    assert counts == content["evaluations"]["id_f1"]["confusion"]


def test_nothing_is_loaded_from_elsewhere_and_ids_are_unique(document, reported):
    links = [
        value for element in document.iter() for key, value in element.attrib.items() if re.search("href|src$", key)
    ]
    assert links and [link for link in links if not link.startswith("#")] == []
    ids = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(ids) == len(set(ids)) and {link[1:] for link in links} <= set(ids)
    text = (reported / "result/report.html").read_text()
    namespaces = {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"\w+://[^\"'\s<]+", text)) <= namespaces
    assert "default-src 'none'" in text and "@import" not in text and len(text) < 3e6


@pytest.fixture
def registry():
    """The list of evaluations, which a test may change."""
    before = list(EVALUATIONS)
    yield EVALUATIONS
    EVALUATIONS[:] = before


def test_the_same_report_again_has_the_same_bytes(reported, corpus, registry):
    written = [reported / "result" / name for name in ("report.html", "report.json", "overview.png")]
    before = [path.read_bytes() for path in written]
    # Metrics of the same files and flags are read, not measured again.
    registry[:] = [row._replace(measure=lambda config: pytest.fail("an evaluation ran again")) for row in registry]
    report.main(flags(reported, corpus))
    assert before == [path.read_bytes() for path in written]


@pytest.fixture
def run(reported, tmp_path):
    """A copy of the reported run."""
    return shutil.copytree(reported, tmp_path / "run")


def measured_anew(text):
    """{file of metrics: why it is measured again} in the printed text."""
    return dict(line.split(" is measured anew: ") for line in text.splitlines() if "is measured anew" in line)


@pytest.mark.slow
def test_what_has_changed_is_measured_again_whatever_its_time_stamp(run, corpus, capsys):
    path, removed = run / "result/alm/moshi.txt", run / "result/result_C3-1.txt"
    path.write_text(re.sub(r" \d (\S+)$", r" 1 \1", path.read_text(), flags=re.MULTILINE))
    os.utime(path, (1, 1))
    removed.unlink()
    (run / "result/id_source.json").write_text("{")
    metrics = json.loads((run / "result/id_f1.json").read_text())
    (run / "result/id_f1.json").write_text(json.dumps(metrics | {"macro_f1": 99.5}))
    report.main(flags(run, corpus))
    assert measured_anew(capsys.readouterr().out) == {
        "id_f1.json": "the file itself has changed",
        "id_config.json": "result_C3-1.txt is gone",
        "id_source.json": "it is damaged",
        "alm.json": "alm/moshi.txt has changed",
        "open_set.json": "alm/moshi.txt has changed; result_C3-1.txt is gone",
    }
    rows = json.loads((run / "result/alm.json").read_text())["conditions"]
    assert next(row for row in rows if row["condition"] == "moshi")["f1"] == 100
    report.main(flags(run, corpus))
    assert measured_anew(capsys.readouterr().out) == {}


def test_edited_labels_and_other_flags_are_measured_again(run, corpus, capsys, tmp_path, registry):
    registry[:] = registry[:1]
    copy = shutil.copytree(corpus, tmp_path / "corpus")
    report.main(flags(run, copy))
    assert measured_anew(capsys.readouterr().out) == {}  # the same labels in another place
    path = copy / "label/eval_id.txt"
    stamp, text = path.stat(), path.read_text()
    path.write_text(text.replace("real 0", "fake 1", 1))  # of the same length
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    before = json.loads((run / "result/id_f1.json").read_text())["confusion"]
    report.main(flags(run, copy))
    assert measured_anew(capsys.readouterr().out) == {"id_f1.json": "list of clips of id has changed"}
    after = json.loads((run / "result/id_f1.json").read_text())["confusion"]
    assert [sum(row) for row in before][:2] == [2, 2] and [sum(row) for row in after][:2] == [1, 3]
    report.main([*flags(run, copy)[:-1], "40"])
    assert measured_anew(capsys.readouterr().out) == {"id_f1.json": "--resamples was 50, now 40"}


def test_metrics_of_another_script_are_kept_unless_they_are_of_other_flags(run, corpus, capsys, registry):
    registry[:] = [row for row in registry if row.name == "ood"]
    path = run / "result/ood.json"
    path.unlink()
    script = importlib.import_module("ood_detector_e2e")
    kept = [flag for flag in flags(run, corpus, "--json", path) if flag not in ("--model_folder", str(run / "model"))]
    script.main(kept)
    report.main(flags(run, corpus))
    assert measured_anew(capsys.readouterr().out) == {}
    script.main([*kept, "--ood_detector_name", "knn"])
    report.main(flags(run, corpus))
    assert measured_anew(capsys.readouterr().out) == {"ood.json": "--ood_detector_name was knn, now all"}


def test_other_metrics_become_tables(document):
    tables = [
        [words(cell) for cell in rows.iter() if cell.tag in (f"{HTML}th", f"{HTML}td")]
        for rows in document.iter(f"{HTML}table")
    ]
    assert ["metric", "value", "draws", "3"] in tables
    assert ["k", "eer", "eer_interval", "sd eer", "5", "12.50", "[10.00, 15.00]", "1.50"] in tables
    assert ["label", "groups", "clips", "F1", "macro", "2", "9", "61.50 [52.2, 71.8]"] in tables


def test_what_is_missing_is_named_on_the_page(trained, corpus, tmp_path, capsys):
    (tmp_path / "result").mkdir()
    shutil.copy(trained / "result/result_id.txt", tmp_path / "result")
    (tmp_path / "result/taxonomy").mkdir()
    (tmp_path / "result/taxonomy/vq_score.txt").write_text("")
    (tmp_path / "result/seeds.json").write_text('{"runs": 3, "figures": []}')
    (tmp_path / "result/notes.json").write_text("{")
    report.main(flags(tmp_path, corpus))
    shown = (tmp_path / "result/report.html").read_text()
    missing = json.loads((tmp_path / "result/report.json").read_text())["missing"]
    assert {"ood", "open_set", "alm", "training", "taxonomy", "seeds.json"} <= set(missing)
    assert {"curves and embeddings", "overview.png"} <= set(missing)
    assert "traindict.pt is missing: run source_tracing" in missing["ood"] and missing["ood"] in shown
    assert "What is missing" in shown and "runs is 3, expected" in missing["seeds.json"]
    assert f"{tmp_path / 'result/notes.json'} is not JSON (" in missing["notes.json"]
    assert f"not in the report: alm: {missing['alm']}" in capsys.readouterr().out


def test_bad_input(trained, corpus, tmp_path):
    with pytest.raises(MissingInput, match=r"result is not a folder: give the folder of score files as --result"):
        report.main(flags(tmp_path, corpus))
    (tmp_path / "result").mkdir()
    with pytest.raises(MissingInput, match="hold nothing of a run to report: run the source_tracing scripts first"):
        report.main(flags(tmp_path, corpus))
    with pytest.raises(InputError, match="--ood_detector_name nobody: expected all or one of msp"):
        report.main(flags(tmp_path, corpus, "--ood_detector_name", "nobody"))
    assert list((tmp_path / "result").glob("report*")) == []
    finished = run_script("report.py", "--result", tmp_path / "nowhere")
    assert (
        finished.returncode == 2 and finished.stderr.count("\n") == 1 and "nowhere is not a folder" in finished.stderr
    )


def test_names_are_text_never_markup():
    name = "</td><script>alert('&')</script>"
    table = Table((name,), [(name,)], name)
    plot = Plot("plot", name, "<svg/>", (name,), [(name,)])
    pieces = [table, plot, Tiles({name: name}), Paragraph(name), Bullets([name]), Folded(name, table)]
    whole = render_page(name, name, {name: pieces})
    page = ElementTree.fromstring(whole.partition("\n")[2])
    assert words(page).count(name) == 19 and len(page.findall(f".//{HTML}script")) == 1
    assert {cell.text for cell in page.iter(f"{HTML}td")} == {name}


@pytest.mark.slow
@pytest.mark.parametrize("width,dark", [(1280, False), (390, True)])
def test_in_a_browser_it_fits_sorts_and_follows_the_scheme(browser, reported, width, dark):
    set_screen(browser, width, dark)
    browser.get_log("browser")
    browser.get((reported / "result/report.html").as_uri())
    scroll, paper, ink = browser.execute_script(
        "const text = document.querySelector('#plot-roc svg text');"
        "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor,"
        " getComputedStyle(text).fill]"
    )
    assert scroll <= width  # nothing sticks out to the side
    for colour, dim in ((paper, dark), (ink, not dark)):
        assert (sum(map(int, re.findall(r"\d+", colour)[:3])) < 300) == dim
    column = browser.execute_script(
        "const table = document.querySelector('table'), head = table.querySelectorAll('th button')[2];"
        "head.click(); head.click();"
        "return [...table.tBodies[0].rows].map(row => parseFloat(row.cells[2].textContent))"
    )
    assert column == sorted(column) and len(column) > 2
    assert browser.get_log("browser") == []  # no script has failed, nothing was blocked


def count_twice(config):
    return {"twice": 2 * len(list(config.save_feats.glob("*.pt")))}


def test_a_new_evaluation_is_one_row(reported, corpus, tmp_path, registry):
    run = shutil.copytree(reported, tmp_path / "run")
    registry.append(Evaluation("twice", count_twice, "Twice", lambda metrics, run: [Tiles(metrics["twice"])]))
    report.main(flags(run, corpus))
    twice = 2 * len(list((run / "save_feats").glob("*.pt")))
    assert json.loads((run / "result/twice.json").read_text())["twice"] == twice
    page = ElementTree.fromstring((run / "result/report.html").read_text().partition("\n")[2])
    section = next(part for part in page.iter(f"{HTML}section") if words(part.find(f"{HTML}h2")) == "Twice")
    assert words(section.find(f".//{HTML}dd")) == str(twice)


def test_the_readme_picture_is_drawn_by_the_same_functions(reported):
    assert (reported / "result/overview.png").read_bytes().startswith(b"\x89PNG")
