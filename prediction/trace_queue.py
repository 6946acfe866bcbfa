"""The queue of the page: uploads are traced one at a time, because a trace uses the whole machine."""

import asyncio
import base64
import io
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from data.audio import SAMPLE_RATE
from prediction.guard import Refused
from prediction.output import codec_text
from prediction.recordings import Recording, split_channels
from utils.errors import InputError

MOST_UPLOADS = 20  # that are received, wait or are traced at once
RETRY_SECONDS = 20
TICK = 0.25  # seconds from one state of a trace to the next


class Unwanted(Exception):
    """The client has gone, or the server stops."""


class Job:
    """One upload: its file, the name that is shown, and how much of its trace is done."""

    def __init__(self, path, name):
        self.path = path
        self.name = name
        self.wanted = True
        self.started = False
        self.total = 1.0  # seconds of sound that all models, and the plot, will have looked at
        self.done = 0.0

    def advance(self, seconds=0.0):
        """Note that `seconds` more were looked at. Raises Unwanted when nobody waits for the result."""
        if not self.wanted:
            raise Unwanted
        self.done += seconds

    def progress(self):
        """The share of the trace that is done, 0 to 1."""
        return min(1.0, self.done / self.total)


class WatchedRecording:
    """A Recording that tells its Job how much of it was read: by each model, and by the plot."""

    def __init__(self, recording, job):
        self.recording = recording
        self.job = job

    def __getattr__(self, name):
        return getattr(self.recording, name)

    def stream(self, *tell):
        """Recording.stream()."""
        for block in self.recording.stream(*tell):
            self.job.advance(len(block) / SAMPLE_RATE)
            yield block


def trace_upload(tracer, job, seconds):
    """What the page shows of the recording of `job`: the fields of its Prediction, "codec_text", "plot" and "more".

    "codec_text" is its field `codec` in words, or empty; "plot" is a picture as a URL. With --channel each, this is the
    first channel, and "more" has the same of the others. `seconds` is the length of the recording.
    """
    recordings = split_channels([Recording(job.path, job.name)], tracer.config.channel)
    job.total = max(0.1, seconds * len(recordings) * (2 + len(tracer.taxonomy_models)))
    shown = []
    for prediction in tracer.trace_each([WatchedRecording(recording, job) for recording in recordings]):
        if not prediction:
            raise InputError(prediction.error)
        picture = io.BytesIO()
        prediction.plot(picture)
        encoded = base64.b64encode(picture.getvalue()).decode()
        words = codec_text(prediction.codec) if prediction.codec else ""
        shown.append({**prediction.to_dict(), "codec_text": words, "plot": f"data:image/png;base64,{encoded}"})
    return {**shown[0], "more": shown[1:]}


class TraceQueue:
    """Traces uploads with one Tracer, in the order in which they were received."""

    def __init__(self, tracer):
        self.tracer = tracer
        self.worker = ThreadPoolExecutor(1)
        self.line = []  # the unfinished jobs; the first one is traced
        self.uploads = 0
        self.stopping = False

    @contextmanager
    def place(self):
        """A place for one upload. Raises Refused when all are taken, and when the server stops."""
        if self.stopping:
            raise Refused(503, "The server is being stopped.", RETRY_SECONDS)
        if self.uploads >= MOST_UPLOADS:
            message = f"{self.uploads} recordings are waiting already. Try again in {RETRY_SECONDS} seconds."
            raise Refused(503, message, RETRY_SECONDS)
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1

    def state_of(self, job):
        """What a client learns of its unfinished `job`: its place among those that wait, or its progress."""
        queue = sum(not other.started for other in self.line)
        if job.started:
            return {"state": "tracing", "progress": round(job.progress(), 3), "queue": queue}
        place = sum(not other.started for other in self.line[: self.line.index(job) + 1])
        return {"state": "waiting", "place": place, "queue": queue}

    async def states(self, job, seconds, remove):
        """Generate the states of `job`, the last one with its result; remove() is called when its file is not needed.

        Raises InputError when the recording cannot be traced, and Refused when the server stops.
        """

        def run():
            job.started = True
            with suppress(Unwanted):
                return trace_upload(self.tracer, job, seconds)

        future = self.worker.submit(run)
        future.add_done_callback(lambda _: remove())
        waiting = asyncio.wrap_future(future)
        self.line.append(job)
        try:
            while not waiting.done():
                if self.stopping:
                    raise Refused(503, "The server is being stopped.", RETRY_SECONDS)
                yield self.state_of(job)
                await asyncio.wait([waiting], timeout=TICK)
            yield {"state": "done", "result": waiting.result()}
        finally:
            job.wanted = False
            future.cancel()
            self.line.remove(job)

    def close(self):
        """Wait until the worker has ended what it does."""
        self.worker.shutdown(cancel_futures=True)
