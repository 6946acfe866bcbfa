"""app.py: the page answers this machine alone, traces an upload, keeps nothing, and works in a browser."""

import http.client
import io
import json
import tempfile
import threading
from urllib.parse import quote

import numpy as np
import pytest
import soundfile
from helpers import run_script

from app import AppConfig
from models import CHECKPOINT
from prediction import Tracer
from prediction.server import make_server
from utils.errors import InputError


def recording(seconds=9, rate=16_000, format="WAV"):
    """The bytes of a recording."""
    file = io.BytesIO()
    wave = 0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))
    soundfile.write(file, wave, rate, format=format)
    return file.getvalue()


@pytest.fixture(scope="module")
def server(calibrated):
    config = AppConfig(model_folder=calibrated / "model", port=0, max_megabytes=2, max_minutes=0.5, num_workers=0)
    with make_server(config, Tracer(config)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def uploads(tmp_path, monkeypatch):
    """The folder that uploads lie in."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ask(server, method, path, body=None, **headers):
    """(status, headers, body) of an answer; `_` in the name of a header stands for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def trace(server, body, name="clip.wav", **headers):
    status, _, content = ask(server, "POST", "/trace", body, X_File_Name=quote(name), **headers)
    return status, json.loads(content)


def test_the_page_loads_nothing_from_elsewhere(server):
    status, headers, content = ask(server, "GET", "/")
    page = content.decode()
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "http://" not in page and "https://" not in page and "src=" not in page
    assert "2 MB and 0.5 minutes" in page and "NONCE" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    nonce = headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    assert page.count(f'nonce="{nonce}"') == 2


def test_the_server_listens_on_this_machine_alone(server):
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_upload_is_traced_and_removed(server, uploads, format):
    status, found = trace(server, recording(format=format), f"my clip.{format.lower()}")
    assert status == 200 and found["file"] == f"my clip.{format.lower()}"
    assert found["seconds"] == pytest.approx(9, abs=0.2) and sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["verdict"] and found["timeline"][0]["start"] == 0
    assert found["plot"].startswith("data:image/png;base64,iVBOR")
    assert list(uploads.iterdir()) == []


def test_the_page_gets_what_the_table_says_of_a_named_codec(server, uploads, monkeypatch):
    monkeypatch.setattr(Tracer, "_decide", lambda *_: ("mimi", "the test says so"))
    _, answer = trace(server, recording())
    assert answer["codec"]["VQ"] == "MVQ" and answer["codec_text"].startswith("Mimi: VQ MVQ, AUX SEM, DEC TIME")
    monkeypatch.setattr(Tracer, "_decide", lambda *_: ("real", "the test says so"))
    _, answer = trace(server, recording())
    assert answer["codec"] is None and answer["codec_text"] == ""
    assert 'id="codec"' in ask(server, "GET", "/")[2].decode()


@pytest.mark.parametrize(
    "name,shown",
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("<img src=x onerror=alert(1)>.wav", "<img src=x onerror=alert(1)>.wav"),  # as text: see the browser's test
        ("a\r\nSet-Cookie: b.wav", "aSet-Cookie: b.wav"),
        ("a\0b.wav", "ab.wav"),
        ("x" * 500, "x" * 120),
        ("", "recording"),
        ("..", ".."),
        ("$\\frac{1}$.wav", "frac{1}$.wav"),
    ],
)
def test_a_hostile_name_is_only_shown(server, uploads, name, shown):
    status, found = trace(server, recording(1), name)
    assert status == 200 and found["file"] == shown
    assert list(uploads.iterdir()) == []


def test_what_is_no_audio_or_too_long_is_refused_by_name(server, uploads):
    status, found = trace(server, b"no audio at all", "notes.txt")
    assert status == 422 and found["error"].startswith("notes.txt cannot be decoded as audio")
    status, found = trace(server, b"", "empty.wav")
    assert status == 422 and found["error"].startswith("empty.wav is empty (0 bytes)")
    status, found = trace(server, recording(60, 8000), "long.wav")
    assert status == 413 and found["error"] == "The recording has 1.0 minutes. At most 0.5 are allowed."
    assert list(uploads.iterdir()) == []


def test_an_upload_above_the_limit_is_refused_unread(server, uploads):
    expected = {
        "3000000": (413, "The file has 3.0 MB. At most 2 MB are allowed."),
        "": (411, "The length of the upload"),
    }
    for length, (status, message) in expected.items():
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.putrequest("POST", "/trace")
        if length:
            connection.putheader("Content-Length", length)
        connection.endheaders()  # no byte is sent
        answer = connection.getresponse()
        assert answer.status == status and json.loads(answer.read())["error"].startswith(message)
        connection.close()
    assert list(uploads.iterdir()) == []


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Host": "evil.example"}, 403),  # another name for this machine: DNS rebinding
        ({"Origin": "http://evil.example"}, 403),  # another page
        ({"Origin": "null"}, 403),
    ],
)
def test_other_pages_are_refused(server, headers, status):
    assert trace(server, recording(1), **headers)[0] == status
    assert ask(server, "GET", "/", **headers)[0] == status


def test_its_own_origin_is_accepted_and_other_paths_are_empty(server):
    assert trace(server, recording(1), Origin=f"http://127.0.0.1:{server.server_port}")[0] == 200
    assert ask(server, "GET", "/../app.py")[0] == ask(server, "GET", "/trace")[0] == ask(server, "POST", "/")[0] == 404


def test_a_port_that_is_taken_and_a_model_that_is_absent_are_named(server, tmp_path):
    config = AppConfig(port=server.server_port)
    with pytest.raises(InputError, match=rf"--port {server.server_port} of 127.0.0.1 cannot be used"):
        make_server(config, None)
    finished = run_script("app.py", "--model_folder", tmp_path)
    assert finished.returncode == 2 and f"{CHECKPOINT} does not exist: train a model first" in finished.stderr


# ---- in a browser ----


def drop(browser, server, path, width, dark=False):
    """The page after `path` was chosen, in a window of `width` pixels, once it has an answer."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"http://127.0.0.1:{server.server_port}")
    browser.find_element(By.ID, "file").send_keys(str(path))
    ended = "return !document.getElementById('result').hidden || document.getElementById('status').className == 'bad'"
    WebDriverWait(browser, 60).until(lambda page: page.execute_script(ended))
    return {part: browser.find_element(By.ID, part) for part in ("verdict", "name", "status", "result", "timeline")}


@pytest.mark.slow
@pytest.mark.parametrize("width,dark", [(1200, False), (360, True)])
def test_a_dropped_file_is_heard_and_its_verdict_seen(browser, server, tmp_path, width, dark):
    path = tmp_path / "<img src=x onerror=alert(1)>.wav"
    path.write_bytes(recording())
    page = drop(browser, server, path, width, dark)
    assert page["verdict"].text and page["name"].text == path.name  # the name is text, no element
    assert browser.execute_script("return document.querySelectorAll('#name *').length") == 0
    assert page["timeline"].text.startswith("0.0 s to ")
    play = "return [document.getElementById('player').duration, document.getElementById('plot').naturalWidth]"
    assert browser.execute_script(play) == [9, 900]
    scroll, paper = browser.execute_script(
        "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
    )
    assert scroll <= width  # nothing sticks out to the side
    assert (sum(map(int, paper[4:-1].split(", "))) < 300) == dark
    assert browser.get_log("browser") == []  # no script has failed, nothing was blocked


@pytest.mark.slow
def test_the_page_says_what_is_wrong_with_a_file(browser, server, tmp_path):
    (tmp_path / "notes.wav").write_text("no audio")
    page = drop(browser, server, tmp_path / "notes.wav", 1200)
    assert page["status"].text.startswith("notes.wav cannot be decoded as audio") and not page["result"].is_displayed()
    (tmp_path / "large.wav").write_bytes(bytes(3_000_000))
    page = drop(browser, server, tmp_path / "large.wav", 1200)
    assert page["status"].text == "The file has 3.0 MB. At most 2 MB are allowed."
