"""report.py with other numbers of classes than ST-Codecfake has, on score files and embeddings made at random."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
import torch

import report
from engine.feature_files import write_features

HTML = "{http://www.w3.org/1999/xhtml}"
SVG = "{http://www.w3.org/2000/svg}"
EACH = 6  # clips of a class in each set


def make_run(root, classes):
    """Flags of a run whose corpus, score files and embeddings have so many known classes, and one unseen codec."""
    names = [f"codec {number}" for number in range(classes)]
    described = {str(number): {"name": name} for number, name in enumerate([*names, "newcomer"])}
    (root / "corpus/label").mkdir(parents=True)
    (root / "corpus/manifest.json").write_text(json.dumps({"classes": described, "known": classes}))
    generator = torch.Generator().manual_seed(classes)
    labels = torch.arange(classes).repeat(EACH)
    files = [f"clip_{number}.wav" for number in range(len(labels))]
    lines = [
        f"{file} {'fake' if label else 'real'} {label}" for file, label in zip(files, labels.tolist(), strict=True)
    ]
    (root / "corpus/label/eval_id.txt").write_text("\n".join(lines) + "\n")
    centres = torch.randn(classes + 1, 8, generator=generator) * 3
    for name, of_clips in (("traindict", labels), ("evaldict_id", labels), ("evaldict_ood7", labels * 0 + classes)):
        features = centres[of_clips] + torch.randn(len(labels), 8, generator=generator)
        logits = -torch.cdist(features, centres[:classes])
        write_features(root / f"save_feats/{name}.pt", features, logits, of_clips, files)
        if name == "evaldict_id":
            predicted = logits.argmax(dim=1)
            lines = [f"{file} {label} 0.5" for file, label in zip(files, predicted.tolist(), strict=True)]
            (root / "result").mkdir()
            (root / "result/result_id.txt").write_text("\n".join(lines) + "\n")
    flags = ["--data_root", root / "corpus", "--result", root / "result", "--save_feats", root / "save_feats"]
    return [str(flag) for flag in (*flags, "--model_folder", root / "model", "--resamples", 20)], names


def read_page(root):
    return ElementTree.fromstring((root / "result/report.html").read_text().partition("\n")[2])


@pytest.mark.parametrize("classes", [2, 3, 9, 40])
def test_a_report_of_any_number_of_classes(classes, tmp_path):
    flags, names = make_run(tmp_path, classes)
    report.main(flags)
    content = json.loads((tmp_path / "result/report.json").read_text())
    shifted = {"id_config", "id_source", "id_unseenreal", "alm"}
    assert set(content["missing"]) == {*shifted, "open_set", "training"}  # what such a run does not have
    assert content["evaluations"]["id_f1"]["classes"] == names
    assert len(content["evaluations"]["id_f1"]["class_f1"]) == classes

    plots = content["figures"]
    assert plots["confusion"]["header"] == ["true class", *(f"as {name}" for name in names)]
    assert [row[0] for row in plots["confusion"]["rows"]] == names
    assert sum(sum(row[1:]) for row in plots["confusion"]["rows"]) == classes * EACH
    known = [row for row in plots["embeddings"]["rows"] if row[0] == "known"]
    assert list(dict.fromkeys(row[1] for row in known)) == names and len(known) == classes * EACH
    assert {"detectors", "histograms", "roc", "det"} <= plots.keys()

    page = read_page(tmp_path)
    for plot in ("confusion", "embeddings"):
        svg = page.find(f".//{HTML}figure[@id='plot-{plot}']/{SVG}svg")
        drawn = ["".join(text.itertext()) for text in svg.iter(f"{SVG}text")]
        assert set(names) <= set(drawn)
        if plot == "confusion":
            assert drawn.count(names[0]) == 2  # of a row and of a column
    heads = ["".join(cell.itertext()) for cell in page.iter(f"{HTML}th")]
    assert not [head for head in heads if head.startswith("paper ")]  # this corpus is not ST-Codecfake
    assert (tmp_path / "result/overview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_large_confusion_matrix_has_room_for_its_classes(tmp_path):
    sizes = {}
    for classes in (9, 40):
        flags, _ = make_run(tmp_path / str(classes), classes)
        report.main(flags)
        plot = read_page(tmp_path / str(classes)).find(f".//{HTML}figure[@id='plot-confusion']")
        assert plot.get("class") == ("wide" if classes == 40 else None)
        svg = plot.find(f"{SVG}svg")
        sizes[classes] = [float(number) for number in svg.get("viewBox").split()[2:]]
    assert all(large / small > 2.5 for large, small in zip(sizes[40], sizes[9], strict=True))
