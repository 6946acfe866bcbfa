"""app.py: the page answers this machine alone, traces an upload, keeps nothing, and works in a browser."""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import ROOT, run_script
from helpers.page_server import ask, recording, trace

from app import AppConfig
from prediction import Tracer, guard
from prediction.server import make_server
from utils.errors import InputError
from utils.model_files import CHECKPOINT


def test_the_page_loads_nothing_from_elsewhere(server):
    status, headers, content = ask(server.server_port, "GET", "/")
    page = content.decode()
    assert status == 200 and headers["Content-Type"].startswith("text/html")
    assert "http://" not in page and "https://" not in page and "src=" not in page
    assert "2 MB and 0.5 minutes" in page and "NONCE" not in page
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    nonce = headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    assert page.count(f'nonce="{nonce}"') == 2


def test_the_server_listens_on_this_machine_alone(server):
    assert server.listener.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_upload_is_traced_and_removed(server, uploads, format):
    status, found = trace(server.server_port, recording(format=format), f"my clip.{format.lower()}")
    assert status == 200 and found["file"] == f"my clip.{format.lower()}"
    assert found["seconds"] == pytest.approx(9, abs=0.2) and sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["verdict"] and found["timeline"][0]["start"] == 0
    assert found["plot"].startswith("data:image/png;base64,iVBOR")
    assert list(uploads.iterdir()) == []


def test_the_page_gets_what_the_table_says_of_a_named_codec(server, uploads, monkeypatch):
    monkeypatch.setattr(Tracer, "_decide", lambda *_: ("mimi", "the test says so"))
    _, answer = trace(server.server_port, recording())
    assert answer["codec"]["VQ"] == "MVQ" and answer["codec_text"].startswith("Mimi: VQ MVQ, AUX SEM, DEC TIME")
    monkeypatch.setattr(Tracer, "_decide", lambda *_: ("real", "the test says so"))
    _, answer = trace(server.server_port, recording())
    assert answer["codec"] is None and answer["codec_text"] == ""
    assert 'id="codec"' in ask(server.server_port, "GET", "/")[2].decode()


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
    status, found = trace(server.server_port, recording(1), name)
    assert status == 200 and found["file"] == shown
    assert list(uploads.iterdir()) == []


def test_what_is_no_audio_or_too_long_is_refused_by_name(server, uploads):
    status, found = trace(server.server_port, b"no audio at all", "notes.txt")
    assert status == 422 and found["error"].startswith("notes.txt cannot be decoded as audio")
    status, found = trace(server.server_port, b"", "empty.wav")
    assert status == 422 and found["error"].startswith("empty.wav is empty (0 bytes)")
    status, found = trace(server.server_port, recording(60, 8000), "long.wav")
    assert status == 413 and found["error"] == "The recording has 1.0 minutes. At most 0.5 are allowed."
    assert list(uploads.iterdir()) == []


def raw(server, *lines, body=b""):
    """(status, JSON) of the answer to a POST of `lines`, headers as they are sent, and `body`."""
    head = ["POST /trace HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}", *lines, "", ""]
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall("\r\n".join(head).encode() + body)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.headers["Connection"] == "close"
        return answer.status, json.loads(answer.read())["error"]


LARGE = "The file has 3.0 MB. At most 2 MB are allowed."
INVALID = "This is no valid HTTP request."


@pytest.mark.parametrize(
    "lines,status,message",
    [
        (["Content-Length: 3000000"], 413, LARGE),
        (["Content-Length: 20000000000000000000"], 413, "The file has 20000000000000.0 MB. At most 2 MB are allowed."),
        ([f"Content-Length: {'9' * 309}"], 400, INVALID),
        ([f"Content-Length: {'9' * 5000}"], 400, INVALID),
        (["Content-Length: -5"], 400, INVALID),
        (["Content-Length: 1e3"], 400, INVALID),
        (["Content-Length: 3.5"], 400, INVALID),
        (["Content-Length: ٣"], 400, INVALID),
        (["Content-Length:"], 400, INVALID),
        (["Content-Length: 3", "Content-Length: 4"], 400, INVALID),
        (["Content-Length: 3, 4"], 400, INVALID),
        (["Transfer-Encoding: gzip"], 400, INVALID),
        (["No colon"], 400, INVALID),
        ([], 422, "recording is empty (0 bytes): copy or download it again"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_length_that_is_wrong_or_too_large_is_refused_before_the_upload(server, uploads, lines, status, message):
    assert raw(server, *lines) == (status, message)
    assert list(uploads.iterdir()) == []


def test_a_client_that_sends_all_before_it_reads_learns_why_it_is_refused(server):
    body = bytes(20_000_000)  # more than the buffers of a connection hold
    assert raw(server, f"Content-Length: {len(body)}", body=body)[0] == 413
    assert raw(server, "Content-Length: 5", "Content-Length: 6", body=body)[0] == 400
    assert raw(server, "Origin: http://evil.example", f"Content-Length: {len(body)}", body=body)[0] == 403


def test_chunks_are_counted_as_they_arrive(server, uploads):
    def chunks(size):
        return (bytes(100_000) for _ in range(size // 100_000))

    assert trace(server.server_port, iter([recording(1)]))[0] == 200
    status, found = trace(server.server_port, chunks(10_000_000))
    assert (status, found["error"]) == (413, "The file has more than 2 MB. At most 2 MB are allowed.")
    assert list(uploads.iterdir()) == []


def test_a_client_that_is_too_slow_is_sent_away(server, uploads, monkeypatch):
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr("prediction.server.FIRST_SECONDS", 0.2)
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        connection.sendall(b"POST /trace HTTP/1.1\r\nHost: 127")
        assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
    status, message = raw(server, "Content-Length: 50000", body=bytes(1000))
    assert (status, message) == (408, "The upload is too slow: less than 100 kB a second.")
    assert list(uploads.iterdir()) == []


def wait_for(condition):
    """Wait until condition() holds, for at most half a minute."""
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_a_client_that_leaves_during_its_upload_leaves_nothing(server, uploads):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=30) as connection:
        head = f"POST /trace HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\nContent-Length: 50000\r\n\r\n"
        connection.sendall(head.encode() + bytes(1000))
        wait_for(lambda: list(uploads.iterdir()))
    wait_for(lambda: not list(uploads.iterdir()))
    assert trace(server.server_port, recording(1))[0] == 200


@pytest.fixture
def held(server, monkeypatch):
    """An event without which no trace begins."""
    go_on = threading.Event()
    original = Tracer.trace_each
    monkeypatch.setattr(Tracer, "trace_each", lambda *given: go_on.wait(60) and original(*given))
    yield go_on
    go_on.set()


def health(server):
    return json.loads(ask(server.server_port, "GET", "/health")[2])


def start_trace(server, body, **headers):
    """A connection that has sent an upload and not yet read the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("POST", "/trace", body, headers)
    return connection


def test_uploads_wait_in_a_queue_that_shows_their_place(server, uploads, held):
    first = start_trace(server, recording(2))
    wait_for(lambda: health(server)["tracing"])
    lines = []
    for place in (1, 2):
        lines.append(start_trace(server, recording(2), Accept="application/x-ndjson").getresponse())
        wait_for(lambda place=place: health(server)["queue"] == place)
    assert json.loads(lines[1].readline()) == {"state": "waiting", "place": 2, "queue": 2}
    assert len(list(uploads.iterdir())) == 3
    held.set()
    states = [list(map(json.loads, answer)) for answer in lines]
    assert first.getresponse().status == 200
    for row in states:
        assert {state["state"] for state in row[:-1]} <= {"waiting", "tracing"} and row[-1]["state"] == "done"
        shares = [state["progress"] for state in row if state["state"] == "tracing"]
        assert shares == sorted(shares) and all(0 <= share <= 1 for share in shares)
    assert states[0][-1]["result"]["file"] == "recording"
    assert list(uploads.iterdir()) == [] and health(server)["queue"] == 0


def test_a_client_that_leaves_the_queue_gives_up_its_place(server, uploads, held):
    first = start_trace(server, recording(1))
    wait_for(lambda: health(server)["tracing"])
    for headers in ({}, {"Accept": "application/x-ndjson"}):
        second = start_trace(server, recording(1), **headers)
        wait_for(lambda: health(server)["queue"] == 1)
        second.close()
        wait_for(lambda: health(server)["queue"] == 0)
    held.set()
    assert first.getresponse().status == 200
    assert list(uploads.iterdir()) == []


def test_a_full_queue_says_when_to_come_again(server, held, monkeypatch):
    monkeypatch.setattr("prediction.trace_queue.MOST_UPLOADS", 1)
    first = start_trace(server, recording(1))
    wait_for(lambda: health(server)["tracing"])
    status, headers, content = ask(server.server_port, "POST", "/trace", recording(1))
    assert (status, headers["Retry-After"]) == (503, "20")
    assert json.loads(content)["error"] == "1 recordings are waiting already. Try again in 20 seconds."
    held.set()
    assert first.getresponse().status == 200


def test_what_fails_late_is_the_last_line(server, monkeypatch):
    def fail(*_):
        raise InputError("the test says so")

    monkeypatch.setattr(Tracer, "trace_each", fail)
    _, _, content = ask(server.server_port, "POST", "/trace", recording(1), Accept="application/x-ndjson")
    assert json.loads(content.splitlines()[-1]) == {"state": "failed", "status": 422, "error": "the test says so"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [20, 60])
def test_every_one_of_many_uploads_at_once_gets_an_answer(server, uploads, number):
    body = recording(2)
    with ThreadPoolExecutor(number) as pool:
        answers = list(pool.map(lambda _: ask(server.server_port, "POST", "/trace", body), range(number)))
    found = Counter(status for status, _, _ in answers)
    assert found[200] >= 20 and found[200] + found[503] == number
    assert all("Retry-After" in headers for status, headers, _ in answers if status == 503)
    assert list(uploads.iterdir()) == []


@pytest.mark.slow
def test_many_uploads_leave_no_memory_behind(server):
    body = recording(2)

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6

    sizes = []
    for _ in range(4):
        sizes.append(resident())
        for _ in range(10):
            assert trace(server.server_port, body)[0] == 200
    assert resident() - sizes[1] < 15  # MB; the arrays of one upload that stay would be 20 times more


@pytest.mark.slow
@pytest.mark.parametrize("number,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_the_middle_of_a_trace_ends_the_server(calibrated, tmp_path, number, status):
    command = [sys.executable, "app.py", "--port", "0", "--model_folder", str(calibrated / "model")]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **piped) as process:
        port = int(process.stdout.readline().split()[0].rpartition(":")[2])
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        client.request("POST", "/trace", recording(2000, 8000))
        wait_for(lambda: json.loads(ask(port, "GET", "/health")[2])["tracing"])
        process.send_signal(number)
        answer = client.getresponse()
        assert answer.status == 503 and json.loads(answer.read()) == {"error": "The server is being stopped."}
        assert process.communicate(timeout=60) == ("", "stopped\n") and process.returncode == status
    assert not list(tmp_path.glob("codectrace-*"))


def test_the_examples_of_the_documentation_work(server, tmp_path):
    (tmp_path / "clip.wav").write_bytes(recording(2))
    text = (ROOT / "docs/predict.md").read_text(encoding="utf-8").replace("8765", str(server.server_port))
    example = "import json" + text.partition("```\nimport json")[2].partition("```")[0]
    done = subprocess.run([sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(ask(server.server_port, "GET", "/health")[2])["status"] == "ok"
    assert done.stdout.startswith("clip.wav: ")
    lines = [line for line in text.splitlines() if line.startswith("curl ")]
    assert len(lines) == 3
    for line in lines:
        if shutil.which("curl"):
            done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0 and isinstance(json.loads(done.stdout.splitlines()[-1]), dict), line


@pytest.mark.parametrize(
    "headers,status",
    [
        ({"Host": "evil.example"}, 403),  # another name for this machine: DNS rebinding
        ({"Origin": "http://evil.example"}, 403),  # another page
        ({"Origin": "null"}, 403),
        ({"Host": "127.0.0.1"}, 403),  # the page of another port
        ({"Host": "127.0.0.1.evil.example:80"}, 403),
    ],
)
def test_other_pages_are_refused(server, headers, status):
    assert trace(server.server_port, recording(1), **headers)[0] == status
    assert ask(server.server_port, "GET", "/", **headers)[0] == status


def test_its_own_origin_is_accepted_and_other_paths_are_empty(server):
    assert trace(server.server_port, recording(1), Origin=f"http://127.0.0.1:{server.server_port}")[0] == 200
    assert ask(server.server_port, "GET", "/../app.py")[0] == ask(server.server_port, "GET", "/trace.html")[0] == 404
    for method, path in (("GET", "/trace"), ("POST", "/"), ("PUT", "/trace"), ("DELETE", "/health")):
        status, _, content = ask(server.server_port, method, path)
        assert (status, json.loads(content)) == (405, {"error": "This address does not take such a request."})


def test_a_port_that_is_taken_and_a_model_that_is_absent_are_named(server, tmp_path):
    config = AppConfig(port=server.server_port)
    with pytest.raises(InputError, match=rf"--port {server.server_port} of 127.0.0.1 cannot be used"):
        make_server(config)
    finished = run_script("app.py", "--port", 0, "--model_folder", tmp_path)
    assert finished.returncode == 2 and f"{CHECKPOINT} does not exist: train a model first" in finished.stderr
