"""docs/tour.ipynb runs as it stands."""

import pytest
from helpers import ROOT

TOUR = ROOT / "docs/tour.ipynb"


def kinds(notebook):
    """[(cell, kind)] of the outputs of a notebook, where a kind is text, picture or error."""
    return [
        (number, "picture" if "image/png" in output.get("data", {}) else output["output_type"])
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if output.get("name") != "stderr"
    ]


@pytest.mark.slow
def test_the_tour_runs_from_top_to_bottom_and_gives_what_it_shows():
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("espeakng_loader")
    stored = nbformat.read(TOUR, as_version=4)
    fresh = nbformat.read(TOUR, as_version=4)
    for cell in fresh.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(
        fresh, timeout=300, coalesce_streams=True, resources={"metadata": {"path": TOUR.parent}}
    ).execute()
    assert kinds(fresh) == kinds(stored) and len(kinds(stored)) >= 5
    assert TOUR.stat().st_size < 1_000_000
