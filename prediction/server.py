"""Trace files in the browser: a web page of this machine alone, at http://127.0.0.1:8765.

    python app.py --model_folder models/w2v

Drop a file, hear it, see verdict, probabilities and timeline. The page fetches nothing from elsewhere and the server
answers this machine alone. An upload lies in a temporary folder while it is traced and is removed then; its name is
only ever shown. --max_megabytes and --max_minutes limit it. Ctrl-C ends the server.
"""

import base64
import io
import json
import secrets
import tempfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from config import parse_config
from config_predict import AppConfig
from utils.errors import InputError, run

PAGE = Path(__file__).parent / "prediction/page.html"
CHUNK = 1 << 20  # bytes read at once


class Refused(Exception):
    """An answer other than 200: its HTTP status and what to tell the user."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def shown_name(header):
    """What the page may show of a file name that a browser sent: the last part, printable, of at most 120 letters."""
    name = unquote(header or "", errors="replace").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:120] or "recording"


def check_length(path, most):
    """Raise Refused for a recording of more than `most` minutes, InputError for one that is no audio."""
    from data.audio import opened

    with opened(path) as file:
        minutes = file.frames / file.samplerate / 60
    if minutes > most:
        raise Refused(413, f"The recording has {minutes:.1f} minutes, more than {most:g}.")


def answer_of(tracer, path, name):
    """What the page shows of the recording in `path`: the fields of its Prediction, and "figure", a picture."""
    from prediction.plots import draw

    [(prediction, message)] = tracer.trace([path])
    if not prediction:
        raise InputError(message)
    prediction, picture = replace(prediction, file=name), io.BytesIO()
    draw(path, prediction, picture)
    encoded = base64.b64encode(picture.getvalue()).decode()
    return {**prediction.as_dict(), "figure": f"data:image/png;base64,{encoded}"}


class Handler(BaseHTTPRequestHandler):
    """GET / is the page, POST /trace takes the bytes of a recording and answers with JSON."""

    server_version, sys_version, timeout = "CodecTrace", "", 60

    def do_GET(self):
        self.answer(self.page if self.path == "/" else self.nothing)

    def do_POST(self):
        self.answer(self.trace if self.path == "/trace" else self.nothing)

    def answer(self, make):
        """Send what `make()` gives, (type, bytes), or the reason why there is nothing."""
        status, kind = 200, "application/json"
        try:
            self.check_origin()
            kind, body = make()
        except Refused as refused:
            status, body = refused.status, json.dumps({"error": str(refused)}).encode()
        except InputError as error:
            status, body = 422, json.dumps({"error": str(error)}).encode()
        self.close_connection = status != 200  # the rest of a refused upload is not read
        self.send_response(status)
        policy = f"default-src 'none'; script-src 'nonce-{self.server.nonce}'; style-src 'nonce-{self.server.nonce}'"
        policy += "; img-src data:; media-src blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        headers = {"Content-Type": kind, "Content-Length": len(body), "Content-Security-Policy": policy}
        headers |= {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def check_origin(self):
        """Raise Refused for a request that another web page, or another name for this machine, has sent."""
        port = self.server.server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in hosts or origin not in {None, *(f"http://{host}" for host in hosts)}:
            raise Refused(403, "This page answers its own machine alone.")

    def nothing(self):
        raise Refused(404, "There is nothing here.")

    def page(self):
        config, text = self.server.config, PAGE.read_text(encoding="utf-8")
        marks = {"NONCE": self.server.nonce, "MEGABYTES": config.max_megabytes, "MINUTES": f"{config.max_minutes:g}"}
        for mark, value in marks.items():
            text = text.replace(mark, str(value))
        return "text/html; charset=utf-8", text.encode()

    def trace(self):
        server, name = self.server, shown_name(self.headers.get("X-File-Name"))
        with tempfile.TemporaryDirectory(prefix="codectrace-") as folder:
            path = Path(folder) / "recording"
            try:
                self.receive(path)
                check_length(path, server.config.max_minutes)
                with server.lock:  # one recording at a time: the model has all of the machine
                    answer = answer_of(server.tracer, path, name)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from None
        return "application/json", json.dumps(answer).encode()

    def receive(self, path):
        """Write the body of this request to `path`. Raises Refused when its length is absent, or above the limit."""
        length, most = self.headers.get("Content-Length", ""), self.server.config.max_megabytes
        if not length.isdecimal():
            raise Refused(411, "The length of the upload is not given.")
        if int(length) > most * 10**6:
            raise Refused(413, f"The file has {int(length) / 1e6:.1f} MB, more than {most} MB.")
        left = int(length)
        with open(path, "wb") as file:
            while left and (part := self.rfile.read(min(CHUNK, left))):
                left -= file.write(part)
        if left:
            raise Refused(400, "The upload broke off.")

    def log_message(self, *_):
        """Nothing: names of recordings are nobody's business."""


def make_server(config, tracer):
    """A server of 127.0.0.1 at --port, which serve_forever() starts. Raises InputError when the port is taken."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", config.port), Handler)
    except OSError as error:
        raise InputError(f"--port {config.port} of 127.0.0.1 cannot be used: {error.strerror or error}") from None
    server.config, server.tracer = config, tracer
    server.nonce, server.lock = secrets.token_urlsafe(16), threading.Lock()
    return server


def main(argv=None):
    config = parse_config(__doc__, argv, AppConfig)
    from prediction.verdict import Tracer

    with make_server(config, Tracer(config)) as server:
        print(f"http://127.0.0.1:{server.server_port}    (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped")


if __name__ == "__main__":
    run(main)
