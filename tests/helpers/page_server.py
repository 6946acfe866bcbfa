"""The page of app.py while a test asks it: a server in a thread, and its answers."""

import http.client
import io
import json
import threading
from contextlib import contextmanager
from urllib.parse import quote

import numpy as np
import soundfile

from prediction import Tracer
from prediction.server import make_server


def recording(seconds=9, rate=16_000, format="WAV"):
    """The bytes of a recording."""
    file = io.BytesIO()
    wave = 0.1 * np.random.default_rng(0).standard_normal(int(seconds * rate))
    soundfile.write(file, wave, rate, format=format)
    return file.getvalue()


@contextmanager
def served(config):
    """The server of an AppConfig while the block lasts."""
    server = make_server(config)
    thread = threading.Thread(target=server.run_here, args=(Tracer(config),))
    thread.start()
    try:
        yield server
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


def ask(port, method, path, body=None, **headers):
    """(status, headers, body) of an answer; `_` in the name of a header stands for `-`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def trace(port, body, name="clip.wav", **headers):
    """(status, JSON) of the answer to an upload."""
    status, _, content = ask(port, "POST", "/trace", body, X_File_Name=quote(name), **headers)
    return status, json.loads(content)
