"""What protects the page of app.py, whatever its routes do: who may ask, how slow a client may be, what headers say.

Guard is the ASGI application around the routes. CarefulProtocol is uvicorn's HTTP/1.1 with limits on the time that a
client may take before its request is complete and while it reads an answer.
"""

import asyncio
import json
import secrets
from contextlib import suppress

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10  # until the first line and the headers of a request are here
READING_SECONDS = 30  # in which a client reads nothing of its answer
DRAIN_SECONDS = 10  # for the rest of a refused upload: a client that still sends does not read


class Refused(Exception):
    """An answer other than 200: its HTTP status, the message for the user, and in how many seconds to try again."""

    def __init__(self, status, message, retry_after=None):
        super().__init__(message)
        self.status = status
        self.headers = {"Retry-After": str(retry_after)} if retry_after else {}


def error_body(message):
    """The JSON of an error."""
    return json.dumps({"error": str(message)}).encode()


class Guard:
    """An ASGI application: `app`, for requests of this machine alone, with headers that shut other pages out.

    The answer to an upload that is not read is followed by reading and dropping its rest: otherwise the system resets
    the connection, and the client never sees why it was refused. Every connection ends with its answer.
    """

    def __init__(self, app, port):
        self.app = app
        self.hosts = {f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode()}
        self.nonce = secrets.token_urlsafe(16)
        policy = f"default-src 'none'; script-src 'nonce-{self.nonce}'; style-src 'nonce-{self.nonce}'"
        policy += "; img-src data:; media-src blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
        headers = {
            "Content-Security-Policy": policy,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Connection": "close",
        }
        self.headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    def is_own_request(self, headers):
        """Whether a request comes from a page of this server, or from no page, and calls this machine by its name."""
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        own = {b"http://" + host for host in self.hosts}
        return len(hosts) == 1 and set(hosts) <= self.hosts and set(origins) <= own

    async def __call__(self, scope, receive, send):
        whole = False  # whether the body of the request was received

        async def receive_body():
            nonlocal whole
            message = await receive()
            whole |= message["type"] == "http.disconnect" or not message.get("more_body")
            return message

        async def drain():
            while not whole:
                await receive_body()

        async def send_guarded(message):
            if message["type"] == "http.response.start":
                await send(message | {"headers": [*message["headers"], *self.headers]})
            elif message.get("more_body") or whole:
                await send(message)
            else:
                await send(message | {"more_body": True})
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(drain(), DRAIN_SECONDS)
                await send({"type": "http.response.body"})

        if self.is_own_request(scope["headers"]):
            await self.app(scope, receive_body, send_guarded)
            return
        body = error_body("This server answers only pages of its own machine.")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send_guarded({"type": "http.response.start", "status": 403, "headers": headers})
        await send_guarded({"type": "http.response.body", "body": body})


class CarefulProtocol(H11Protocol):
    """One connection, which ends when its client is too slow; what is no HTTP gets its error as JSON."""

    refused = False
    reader_timer = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self.loop.call_later(REQUEST_SECONDS, self.end_without_request)

    def end_without_request(self):
        if self.cycle is None and not self.refused and not self.transport.is_closing():
            self.refuse(408, "The request did not arrive in time.")

    def send_400_response(self, msg):
        self.refuse(400, "This is no valid HTTP request.")

    def refuse(self, status, message):
        """Send an error before there is a request; what still arrives is dropped."""
        self.refused = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error_body(message)
            headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            start = h11.Response(status_code=status, headers=list(headers.items()))
            for event in (start, h11.Data(body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(DRAIN_SECONDS, self.transport.abort)

    def data_received(self, data):
        if not self.refused:
            super().data_received(data)

    def pause_writing(self):
        super().pause_writing()
        self.reader_timer = self.loop.call_later(READING_SECONDS, self.transport.abort)

    def resume_writing(self):
        super().resume_writing()
        if self.reader_timer:
            self.reader_timer.cancel()
