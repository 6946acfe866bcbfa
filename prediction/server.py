"""The web server of app.py: GET / is the page, POST /trace takes a recording and answers with its Prediction.

It serves only this machine. An upload is in a temporary folder while it is traced, and is then removed. Its name is
used only to show it.
"""

import base64
import io
import json
import math
import secrets
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from data.audio import BLOCK, mono_blocks, opened
from prediction.output import codec_text
from prediction.recordings import Recording
from utils.errors import InputError

PAGE = Path(__file__).with_name("page.html")
UPLOAD_BLOCK = 1 << 20  # bytes that are read at once


class Refused(Exception):
    """An answer other than 200: its HTTP status and the message for the user."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def clean_file_name(header):
    """What the page may show of a file name that a browser sent: the last part, printable, at most 120 letters."""
    name = unquote(header or "", errors="replace").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:120] or "recording"


def check_length(path, most):
    """Raise Refused for a recording of more than `most` minutes, InputError for a file that is no audio."""
    with opened(path) as file:
        minutes = (file.frames or 0) / file.samplerate / 60
        if file.frames is None:
            limit = math.floor(60 * most * file.samplerate) + 1
            minutes = sum(map(len, mono_blocks(file, BLOCK, limit))) / file.samplerate / 60
    if minutes > most:
        length = f"{minutes:.1f}" if file.frames is not None else f"more than {most:g}"
        raise Refused(413, f"The recording has {length} minutes. At most {most:g} are allowed.")


def trace_upload(tracer, path, name):
    """What the page shows of the recording in `path`: the fields of its Prediction, "codec_text", "plot" and "more".

    "codec_text" is its field `codec` in words, or empty; "plot" is a picture as a URL. With --channel each, this is the
    first channel, and "more" has the same of the others.
    """
    shown = []
    for prediction in tracer.trace([Recording(path, name)]):
        if not prediction:
            raise InputError(prediction.error)
        picture = io.BytesIO()
        prediction.plot(picture)
        encoded = base64.b64encode(picture.getvalue()).decode()
        words = codec_text(prediction.codec) if prediction.codec else ""
        shown.append({**prediction.to_dict(), "codec_text": words, "plot": f"data:image/png;base64,{encoded}"})
    return {**shown[0], "more": shown[1:]}


class PageHandler(BaseHTTPRequestHandler):
    """Answers one request."""

    server_version = "CodecTrace"
    sys_version = ""
    timeout = 60  # seconds

    def do_GET(self):
        self.answer(self.page if self.path == "/" else self.refuse_address)

    def do_POST(self):
        self.answer(self.trace if self.path == "/trace" else self.refuse_address)

    def answer(self, make):
        """Send (type, bytes), the result of `make()`, or the reason of a refusal."""
        status = 200
        kind = "application/json"
        try:
            self.check_origin()
            kind, body = make()
        except Refused as refused:
            status = refused.status
            body = json.dumps({"error": str(refused)}).encode()
        except InputError as error:
            status = 422
            body = json.dumps({"error": str(error)}).encode()
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
        """Raise Refused for a request from another web page, or to another name of this machine."""
        port = self.server.server_port
        hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") not in hosts or origin not in {None, *(f"http://{host}" for host in hosts)}:
            raise Refused(403, "This server answers only pages of its own machine.")

    def refuse_address(self):
        raise Refused(404, "This address does not exist.")

    def page(self):
        config = self.server.config
        text = PAGE.read_text(encoding="utf-8")
        marks = {"NONCE": self.server.nonce, "MEGABYTES": config.max_megabytes, "MINUTES": f"{config.max_minutes:g}"}
        for mark, value in marks.items():
            text = text.replace(mark, str(value))
        return "text/html; charset=utf-8", text.encode()

    def trace(self):
        server = self.server
        name = clean_file_name(self.headers.get("X-File-Name"))
        with tempfile.TemporaryDirectory(prefix="codectrace-") as folder:
            path = Path(folder) / "recording"
            try:
                self.receive(path)
                check_length(path, server.config.max_minutes)
                with server.lock:  # one recording at a time: tracing uses the whole machine
                    answer = trace_upload(server.tracer, path, name)
            except InputError as error:
                raise InputError(str(error).replace(str(path), name)) from None
        return "application/json", json.dumps(answer).encode()

    def receive(self, path):
        """Write the body of this request to `path`. Raises Refused when its length is missing or above the limit."""
        length = self.headers.get("Content-Length", "")
        most = self.server.config.max_megabytes
        if not length.isdecimal():
            raise Refused(411, "The length of the upload is missing.")
        if int(length) > most * 10**6:
            raise Refused(413, f"The file has {int(length) / 1e6:.1f} MB. At most {most} MB are allowed.")
        left = int(length)
        with open(path, "wb") as file:
            while left and (part := self.rfile.read(min(UPLOAD_BLOCK, left))):
                left -= file.write(part)
        if left:
            raise Refused(400, "The upload was interrupted.")

    def log_message(self, *_):
        """Logs nothing: the names of recordings are private."""


def make_server(config, tracer):
    """A server of 127.0.0.1 at --port, which serve_forever() starts. Raises InputError when the port is taken."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", config.port), PageHandler)
    except OSError as error:
        raise InputError(f"--port {config.port} of 127.0.0.1 cannot be used: {error.strerror or error}") from None
    server.config = config
    server.tracer = tracer
    server.nonce = secrets.token_urlsafe(16)
    server.lock = threading.Lock()
    return server
