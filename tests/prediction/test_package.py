"""The package as Python users import it."""

import pytest
from helpers import run_script

import prediction
from evaluation.calibration import DEFAULT_DETECTOR
from prediction.settings import TraceConfig


def test_importing_the_package_does_not_import_torch_before_it_is_used():
    code = "import sys, prediction; print('torch' in sys.modules); from prediction import Tracer; print(Tracer)"
    finished = run_script("-c", code)
    assert finished.stdout.splitlines() == ["False", "<class 'prediction.tracer.Tracer'>"], finished.stderr


def test_the_public_names_exist_and_others_do_not():
    assert all(getattr(prediction, name).__name__ == name for name in prediction.PUBLIC_NAMES)
    with pytest.raises(AttributeError, match="module prediction has no attribute Trace"):
        _ = prediction.Trace


def test_the_help_names_the_default_detector():
    help_line = TraceConfig.__dataclass_fields__["ood_detector_name"].metadata["argparse"]["help"]
    assert f"without it {DEFAULT_DETECTOR}" in help_line
