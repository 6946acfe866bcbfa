"""What tests share: where things lie, and how a script is run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"  # the developers' ground truth; tests that read it skip without it
FIXTURES = ROOT / "tests/fixtures"
TAXONOMY_CODECS = ("bigcodec", "ticodec_1g2r", "SemantiCodec_0.35kbps_16k", "spectralcodecs")


def shared(*parts):
    """A path of the developers' shared folder; skips the test where it is absent."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} of the developers' shared folder is not at hand")
    return path


def run_script(*command, cwd=ROOT, **options):
    """A script run as its user runs it: the finished process, with its output as text."""
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, capture_output=True, text=True, **options)


def change_quietly(path):
    """Change the last byte of a file, but neither its size nor its time stamp."""
    status, content = path.stat(), path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def set_screen(browser, width, dark):
    """Give the browser a window of `width` pixels, as of a telephone where it is narrow, in a light or dark scheme."""
    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
