"""The plot of a Prediction, for few and for many classes."""

import matplotlib.image
import numpy as np
import pytest
import soundfile

from prediction import Prediction
from prediction.plots import draw_prediction, legend_columns, legend_names, source_styles
from prediction.verdict import UNKNOWN


def make_prediction(classes, timeline, seconds=1.0):
    """A Prediction of `classes`, a list of names, with a `timeline`."""
    measured = {"score": 0.0, "threshold": 0.0, "percentile": 0.0, "p_value": 1.0, "agreement": 1.0}
    return Prediction(
        file="clip.wav",
        seconds=seconds,
        sample_rate=16_000,
        windows=len(timeline),
        verdict=classes[0],
        reason="",
        probabilities=dict.fromkeys(classes, 1 / len(classes)),
        detector="knn",
        timeline=timeline,
        taxonomy={},
        **measured,
    )


@pytest.mark.parametrize("count", [2, 20, 40, 70])
def test_the_source_of_every_segment_has_a_look_of_its_own(count):
    classes = [f"codec {number}" for number in range(count)]
    many = make_prediction(classes, [{"source": "enrolled"}, {"source": UNKNOWN}])
    styles = source_styles(many)
    assert len(set(styles.values())) == len(styles) == count + 1 + 3


@pytest.mark.parametrize("count", [2, 3, 9, 40])
def test_a_timeline_with_every_class_is_drawn(tmp_path, count):
    """Half of the segments are too narrow for a name: the legend names them, and the plot is higher for it."""
    classes = ["real", *(f"Codec_{number}_0.35kbps" for number in range(1, count))]
    edges = np.linspace(0, 12, count + 1)
    timeline = [
        {"start": start, "end": end, "source": name, "probability": 0.9}
        for name, start, end in zip(classes, edges[:-1], edges[1:], strict=True)
    ]
    path = tmp_path / "clip.wav"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(12 * 16_000), 16_000)
    prediction = make_prediction(classes, timeline, seconds=12.0)
    draw_prediction(path, prediction, tmp_path / "plot.png")
    picture = matplotlib.image.imread(tmp_path / "plot.png")
    names = legend_names(prediction)
    assert names == ([] if count < 9 else classes if count == 40 else classes[1:])
    assert legend_columns(names) * 20 <= 130
    height, width = picture.shape[:2]
    assert width == 900 and (height == 500) == (count < 40)
    background = picture[0, 0, :3]
    assert (picture[-2:, :, :3] == background).all() and (picture[:, -2:, :3] == background).all()  # nothing is cut off
