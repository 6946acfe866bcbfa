"""The web server of app.py: GET / is the page, POST /trace takes a recording and answers with its Prediction.

It serves only this machine (guard.py), one recording at a time (trace_queue.py). An upload is in a temporary folder
while it is traced, and is then removed. Its name is used only to show it. docs/predict.md describes the routes.
"""

import asyncio
import json
import logging
import math
import socket
import tempfile
import time
from contextlib import aclosing
from pathlib import Path
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from data.audio import BLOCK, mono_blocks, opened
from prediction.guard import CarefulProtocol, Guard, Refused
from prediction.trace_queue import Job, TraceQueue
from utils.errors import InputError

PAGE = Path(__file__).with_name("page.html")
LINES = "application/x-ndjson"  # in the header Accept: answer with a line for each state of the trace
SLOWEST = 100_000  # bytes a second of an upload, after
FIRST_SECONDS = 20
STOP_SECONDS = 1  # for clients to get their last answer when the server stops
CLIENTS = 2048  # that may connect at the same moment


def clean_file_name(header):
    """What the page may show of a file name that a browser sent: the last part, printable, at most 120 letters."""
    name = unquote(header or "", errors="replace").replace("\\", "/").rpartition("/")[2]
    return "".join(letter for letter in name if letter.isprintable())[:120] or "recording"


def check_length(path, most, go_on):
    """The length of the recording in `path` (s). Raises Refused for more than `most` minutes, InputError for no audio.

    go_on() is called while a file is read whose header does not say its length.
    """
    with opened(path) as file:
        frames = file.frames
        if frames is None:
            frames = 0
            for block in mono_blocks(file, BLOCK, math.floor(60 * most * file.samplerate) + 1):
                go_on()
                frames += len(block)
        seconds = frames / file.samplerate
    if seconds > 60 * most:
        length = f"{seconds / 60:.1f}" if file.frames is not None else f"more than {most:g}"
        raise Refused(413, f"The recording has {length} minutes. At most {most:g} are allowed.")
    return seconds


async def receive_upload(request, path, most):
    """Write the body of `request` to `path`.

    Raises Refused when it has more than `most` MB, as its header says or as it arrives, and when it comes too slowly.
    """
    promised = request.headers.get("Content-Length")
    too_large = "The file has {} MB. At most {} MB are allowed."
    if promised and int(promised) > most * 10**6:
        raise Refused(413, too_large.format(f"{int(promised) / 1e6:.1f}", most))
    received = 0
    start = time.monotonic()
    parts = request.stream()
    with open(path, "wb") as file:
        while True:
            left = FIRST_SECONDS + received / SLOWEST - (time.monotonic() - start)
            try:
                part = await asyncio.wait_for(anext(parts), max(0, left))
            except StopAsyncIteration:
                return
            except asyncio.TimeoutError:
                raise Refused(408, f"The upload is too slow: less than {SLOWEST // 1000} kB a second.") from None
            received += file.write(part)
            if received > most * 10**6:
                raise Refused(413, too_large.format(f"more than {most}", most))


class PageServer(uvicorn.Server):
    """The server at the listening socket `listener`; run_here() serves until a signal or stop() ends it."""

    def __init__(self, config, listener):
        self.settings = config
        self.listener = listener
        self.server_port = listener.getsockname()[1]
        routes = [
            Route("/", self.page, methods=["GET"]),
            Route("/health", self.health, methods=["GET"]),
            Route("/trace", self.trace, methods=["POST"]),
        ]
        handlers = dict.fromkeys((Refused, InputError, HTTPException, OSError, MemoryError), answer_error)
        handlers[ClientDisconnect] = lambda *_: Response()  # nobody reads it
        self.guard = Guard(Starlette(routes=routes, exception_handlers=handlers), self.server_port)
        options = {"lifespan": "off", "ws": "none", "access_log": False, "log_config": None, "server_header": False}
        super().__init__(uvicorn.Config(self.guard, http=CarefulProtocol, loop="asyncio", **options))
        # Names of recordings are private, and a client's mistake is no news: only a fault of the server is told.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    def run_here(self, tracer):
        """Answer requests, with `tracer` for the recordings, until the server is stopped."""
        self.queue = TraceQueue(tracer)
        try:
            self.run([self.listener])
        finally:
            self.queue.stopping = True
            self.queue.close()

    def stop(self):
        """Let run_here() end, from another thread."""
        self.should_exit = True

    async def shutdown(self, sockets=None):
        """Answer those that wait, then cut the connections that are left."""
        self.queue.stopping = True

        def cut():
            for connection in list(self.server_state.connections):
                connection.transport.abort()

        asyncio.get_running_loop().call_later(STOP_SECONDS, cut)
        await super().shutdown(sockets)

    async def page(self, _):
        text = PAGE.read_text(encoding="utf-8")
        limits = {"MEGABYTES": self.settings.max_megabytes, "MINUTES": f"{self.settings.max_minutes:g}"}
        for mark, value in {"NONCE": self.guard.nonce, **limits}.items():
            text = text.replace(mark, str(value))
        return HTMLResponse(text)

    async def health(self, _):
        waiting = sum(not job.started for job in self.queue.line)
        return JSONResponse(
            {
                "status": "ok",
                "queue": waiting,
                "tracing": len(self.queue.line) > waiting,
                "sources": list(self.queue.tracer.calibration.class_names),
                "max_megabytes": self.settings.max_megabytes,
                "max_minutes": self.settings.max_minutes,
            }
        )

    async def trace(self, request):
        """The answer to an upload: its result, or with Accept: application/x-ndjson a line for each state."""
        states = self.states(request)
        first = await anext(states)  # what is wrong with the upload itself has a status of its own
        if LINES in request.headers.get("Accept", ""):
            return StreamingResponse(state_lines(first, states), media_type=LINES)
        async with aclosing(states):
            async for state in states:
                if state["state"] == "done":
                    return JSONResponse(state["result"])
                if await request.is_disconnected():
                    raise ClientDisconnect

    async def states(self, request):
        """Generate the states of an upload, the last one with its result. Raises what answer_error() answers."""
        with self.queue.place():
            folder = tempfile.TemporaryDirectory(prefix="codectrace-")
            job = Job(Path(folder.name) / "recording", clean_file_name(request.headers.get("X-File-Name")))
            try:
                await receive_upload(request, job.path, self.settings.max_megabytes)
                seconds = await asyncio.to_thread(check_length, job.path, self.settings.max_minutes, job.advance)
                async with aclosing(self.queue.states(job, seconds, folder.cleanup)) as states:
                    async for state in states:
                        yield state
            except InputError as error:
                raise InputError(str(error).replace(str(job.path), job.name)) from None
            finally:
                job.wanted = False
                if not job.started:
                    folder.cleanup()


async def state_lines(first, states):
    """Each state as a line of JSON; an error is the last state."""
    async with aclosing(states):
        try:
            yield json.dumps(first) + "\n"
            async for state in states:
                yield json.dumps(state) + "\n"
        except (Refused, InputError, OSError, MemoryError) as error:
            status, message = describe_error(error)
            yield json.dumps({"state": "failed", "status": status, "error": message}) + "\n"


def describe_error(error):
    """(HTTP status, message) of what went wrong with a request."""
    if isinstance(error, Refused):
        return error.status, str(error)
    if isinstance(error, InputError):
        return 422, str(error)
    if isinstance(error, HTTPException):
        known = {404: "This address does not exist.", 405: "This address does not take such a request."}
        return error.status_code, known.get(error.status_code, error.detail)
    if isinstance(error, OSError):
        return 507, f"The server cannot keep the recording: {error.strerror or error}."
    return 507, "The server has too little memory for this recording."


async def answer_error(_, error):
    status, message = describe_error(error)
    return JSONResponse({"error": message}, status, getattr(error, "headers", None))


def make_server(config):
    """A PageServer of 127.0.0.1 at --port. Raises InputError when the port is taken."""
    try:
        listener = socket.create_server(("127.0.0.1", config.port), backlog=CLIENTS)
    except OSError as error:
        raise InputError(f"--port {config.port} of 127.0.0.1 cannot be used: {error.strerror or error}") from None
    return PageServer(config, listener)
