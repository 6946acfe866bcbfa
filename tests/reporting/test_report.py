"""report.py: its figures are those of the evaluation scripts, its page is whole and needs no network."""

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from helpers import run_script

import plot_results
import report
from reporting import evaluations
from reporting.page import page, table
from utils.errors import InputError, MissingInput

HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
EVERY_FIGURE = ["confusion", "conditions", "detectors", "histograms", "roc", "det", "embeddings", "training"]


def flags(folder, corpus, *more):
    parts = [flag for part in ("result", "save_feats") for flag in (f"--{part}", str(folder / part))]
    model = ["--model_folder", str(folder / "model"), "--data_root", str(corpus)]
    return [*parts, *model, "--resamples", "50", *map(str, more)]


@pytest.fixture(scope="module")
def reported(trained, calibrated, corpus, tmp_path_factory):
    """A calibrated run with its report, another script's figures beside it."""
    folder = tmp_path_factory.mktemp("reported")
    for part, source in (("model", calibrated), ("save_feats", calibrated), ("result", trained)):
        shutil.copytree(source / part, folder / part)
    rows = [{"k": 5, "eer": 12.5, "eer_interval": [10.0, 15.0], "sd": {"eer": 1.5}}]
    (folder / "result/enrolment.json").write_text(json.dumps({"draws": 3, "figures": rows}))
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


def test_figures_are_those_of_the_scripts(reported, corpus, content, document, tmp_path):
    assert content["missing"] == {} and list(content["evaluations"]) == list(evaluations.SCRIPTS)
    for name in ("id_f1", "alm", "open_set"):
        module = __import__(evaluations.SCRIPTS[name])
        module.main(flags(reported, corpus, "--json", tmp_path / f"{name}.json"))
        assert json.loads((tmp_path / f"{name}.json").read_text()) == content["evaluations"][name]
    shown, found = words(document), content["evaluations"]
    low, high = found["id_f1"]["macro_f1_interval"]
    assert f"{found['id_f1']['macro_f1']:.2f} [{low:.1f}, {high:.1f}]" in shown
    for row in found["ood"]["figures"]:
        low, high = row["auc_interval"]
        assert f"{row['auc']:.2f} [{low:.1f}, {high:.1f}]" in shown
    assert "99.93" in shown  # the paper's Table 5


def test_every_figure_has_its_numbers_and_an_alternative_text(content, document):
    drawn = document.findall(f".//{HTML}figure")
    assert [figure.get("id") for figure in drawn] == [f"figure-{name}" for name in content["figures"]]
    assert sorted(content["figures"]) == sorted(EVERY_FIGURE)
    for figure, numbers in zip(drawn, content["figures"].values(), strict=True):
        assert figure.find(f"{SVG}svg").get("aria-label").startswith(numbers["title"])
        rows = figure.findall(f".//{HTML}tbody/{HTML}tr")
        assert len(rows) == len(numbers["rows"]) > 0
        assert [words(head) for head in figure.findall(f".//{HTML}th")] == numbers["header"]
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


def test_the_same_report_again_has_the_same_bytes(reported, corpus, monkeypatch):
    before = [(reported / f"result/report.{kind}").read_bytes() for kind in ("html", "json")]
    # Figures that are newer than the run are read, not measured again.
    monkeypatch.setattr(evaluations.importlib, "import_module", lambda name: pytest.fail(f"{name} ran again"))
    report.main(flags(reported, corpus))
    assert before == [(reported / f"result/report.{kind}").read_bytes() for kind in ("html", "json")]


def test_older_figures_are_measured_again(reported, corpus, tmp_path):
    shutil.copytree(reported, tmp_path / "run")
    run, path = tmp_path / "run", tmp_path / "run/result/alm/moshi.txt"
    path.write_text(re.sub(r" \d (\S+)$", r" 1 \1", path.read_text(), flags=re.MULTILINE))
    report.main(flags(run, corpus))
    rows = json.loads((run / "result/alm.json").read_text())["conditions"]
    assert next(row for row in rows if row["condition"] == "moshi")["f1"] == 100


def test_other_figures_become_tables(document):
    tables = [
        [words(cell) for cell in rows.iter() if cell.tag in (f"{HTML}th", f"{HTML}td")]
        for rows in document.iter(f"{HTML}table")
    ]
    assert ["figure", "value", "draws", "3"] in tables
    assert ["k", "eer", "eer_interval", "sd eer", "5", "12.50", "[10.00, 15.00]", "1.50"] in tables


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
    assert {"ood", "open_set", "alm", "training", "taxonomy", "curves and embeddings", "seeds.json"} <= set(missing)
    assert "traindict.pt is missing: run source_tracing" in missing["ood"] and missing["ood"] in shown
    assert "What is missing" in shown and "is not what this version writes" in missing["seeds.json"]
    assert f"{tmp_path / 'result/notes.json'} cannot be read as JSON" in missing["notes.json"]
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
    whole = page("<i>", "&", {"<b>": [table(("<script>",), [("</table>",)])]})
    assert ElementTree.fromstring(whole.partition("\n")[2]).find(f".//{HTML}td").text == "</table>"


@pytest.mark.slow
@pytest.mark.parametrize("width,dark", [(1280, False), (390, True)])
def test_in_a_browser_it_fits_sorts_and_follows_the_scheme(browser, reported, width, dark):
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("browser")
    browser.get((reported / "result/report.html").as_uri())
    scroll, paper, ink = browser.execute_script(
        "const text = document.querySelector('#figure-roc svg text');"
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


def test_the_readme_picture_is_drawn_by_the_same_functions(reported, corpus):
    plot_results.main(flags(reported, corpus))
    assert (reported / "result/overview.png").read_bytes().startswith(b"\x89PNG")
