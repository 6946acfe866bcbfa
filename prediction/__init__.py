"""Trace single files with a trained and calibrated model.

    from prediction import Tracer

    tracer = Tracer.load("models/w2v")
    [prediction] = tracer.trace(["clip.wav"])
    print(prediction.verdict)

docs/python.md shows the rest. settings.py holds the settings, windows.py runs a model over a file, verdict.py and
timeline.py say what its windows add up to, tracer.py puts these together. results.py has what a Tracer gives.
registry.py and enrolment.py add sources from a few clips. output.py, plots.py and server.py show the result.
"""

from importlib import import_module

PUBLIC_NAMES = {
    "Failure": "prediction.results",
    "Peak": "prediction.results",
    "Prediction": "prediction.results",
    "Segment": "prediction.results",
    "TraceConfig": "prediction.settings",
    "Tracer": "prediction.tracer",
}


def __getattr__(name):
    """A public name, imported when it is first used, because torch is slow to import."""
    if name not in PUBLIC_NAMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(PUBLIC_NAMES[name]), name)
