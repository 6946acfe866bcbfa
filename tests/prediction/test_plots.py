"""The plot of a Prediction, for few and for many classes."""

import matplotlib.image
import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from prediction import Prediction, Segment
from prediction.peaks import compare_with_source
from prediction.plots import draw_fingerprint, legend_columns, legend_names, source_styles
from prediction.recordings import as_recording
from prediction.verdict import UNKNOWN, UNSURE


def make_prediction(classes, timeline, seconds=1.0, verdict=None, **fields):
    """A Prediction of `classes`, a list of names, with a `timeline`. The verdict is the first class if not given."""
    measured = {"score": 0.0, "threshold": 0.0, "percentile": 0.0, "p_value": 1.0, "agreement": 1.0}
    return Prediction(
        file="clip.wav",
        seconds=seconds,
        sample_rate=16_000,
        level_range=40.0,
        windows=len(timeline),
        verdict=verdict or classes[0],
        reason="",
        probabilities=dict.fromkeys(classes, 1 / len(classes)),
        detector="knn",
        timeline=timeline,
        taxonomy={},
        **measured,
        **fields,
    )


@pytest.mark.parametrize("count", [2, 20, 40, 70])
def test_the_source_of_every_segment_has_a_look_of_its_own(count):
    classes = [f"codec {number}" for number in range(count)]
    many = make_prediction(classes, [Segment(0, 1, "enrolled"), Segment(1, 2, UNKNOWN)])
    styles = source_styles(many)
    assert len(set(styles.values())) == len(styles) == count + 1 + 3


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_a_timeline_with_every_class_is_drawn(tmp_path, count):
    """Half of the segments are too narrow for a name: the legend names them, and the plot is higher for it."""
    classes = ["real", *(f"Codec_{number}_0.35kbps" for number in range(1, count))]
    edges = np.linspace(0, 12, count + 1)
    timeline = [Segment(start, end, name, 0.9) for name, start, end in zip(classes, edges[:-1], edges[1:], strict=True)]
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12 * 16_000), 16_000)
    prediction = make_prediction(classes, timeline, seconds=12.0, recording=as_recording(path))
    prediction.plot(tmp_path / "plot.png")
    picture = matplotlib.image.imread(tmp_path / "plot.png")
    names = legend_names(prediction)
    assert names == ([] if count < 9 else classes if count == 40 else classes[1:])
    assert legend_columns(names) * 20 <= 130
    height, width = picture.shape[:2]
    assert width == 900 and (height == 500) == (count < 40)
    background = picture[0, 0, :3]
    assert (picture[-2:, :, :3] == background).all() and (picture[:, -2:, :3] == background).all()  # nothing is cut off


@pytest.mark.parametrize(
    ("verdict", "with_means", "legend"),
    [
        ("mimi", True, ["this file", "mean and spread of training clips of mimi", "peaks that speak for mimi"]),
        ("mimi", False, ["this file", "peaks that speak for mimi"]),
        ("real", True, ["this file", "mean and spread of training clips of real"]),
        *(
            (
                verdict,
                True,
                [
                    "this file",
                    "mean and spread of training clips of mimi (most probable class)",
                    "high peaks of this file",
                ],
            )
            for verdict in (UNKNOWN, UNSURE, "an enrolled source")
        ),
    ],
)
def test_the_fingerprint_is_drawn_for_every_verdict(tmp_path, verdict, with_means, legend):
    rng = np.random.default_rng(0)
    fingerprint = 0.3 * rng.standard_normal(1024)
    fingerprint[[200, 400, 600]] += 6
    means = np.zeros((2, 1024))
    means[1, [200, 400, 600]] = 4
    references = (means, np.ones((2, 1024))) if with_means else None
    spectrum, peaks = compare_with_source(fingerprint, verdict, {"real": 0.1, "mimi": 0.9}, references)
    timeline = [Segment(0, 1, verdict, 0.9)]
    path = tmp_path / "clip.wav"
    found = {"spectrum": spectrum, "peaks": peaks, "recording": as_recording(path)}
    prediction = make_prediction(["real", "mimi"], timeline, verdict=verdict, **found)
    assert prediction.to_dict().keys() >= {"peaks"} and "spectrum" not in prediction.to_dict()
    axes = Figure().subplots()
    draw_fingerprint(axes, prediction)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == legend
    labels = {text.get_text() for text in axes.texts}
    assert labels == (set() if verdict == "real" else {f"{peak.hz:.0f}" for peak in peaks}) and len(labels) in (0, 3)
    soundfile.write(path, 0.1 * rng.standard_normal(16_000), 16_000)
    prediction.plot(tmp_path / "plot.png")
    height, width = matplotlib.image.imread(tmp_path / "plot.png").shape[:2]
    assert (height, width) == (760, 900)
