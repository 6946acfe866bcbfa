"""What the tests of scripts share."""

import tempfile

import pytest
from helpers.page_server import served

from app import AppConfig


@pytest.fixture(scope="module")
def server(calibrated):
    config = AppConfig(model_folder=calibrated / "model", port=0, max_megabytes=2, max_minutes=0.5, num_workers=0)
    with served(config) as server:
        yield server


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The folder that uploads lie in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path
