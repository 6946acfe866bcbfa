"""A script in a process of its own that is stopped, or finds the disk full, at one of its moments.

The processes are forked from one that has imported everything, so that a run costs what it computes, and the model is
a small one. Moments are of three kinds: the end of a batch, a step on the file system (a file opened for writing,
renamed or removed, a folder made or removed), and the middle of a write. The same run has the same moments.
"""

import importlib
import json
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections import Counter
from multiprocessing import forkserver
from typing import NamedTuple

from helpers.training import small_model, use_small_model

MARK = "moments: "
STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}  # names of Python's audit events
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["helpers.interruption_imports"])


class Ended(NamedTuple):
    status: int  # exit status, or minus the number of the signal that killed it
    output: str
    moments: dict  # {kind: number that the run had}, of a run that was not killed


def stop(number):
    return lambda: os.kill(os.getpid(), number)


def fill_disk():
    """From now on no file grows: what a full disk does, for any user and without a disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


ACTS = {
    "SIGKILL": stop(signal.SIGKILL),
    "SIGTERM": stop(signal.SIGTERM),
    "SIGINT": stop(signal.SIGINT),
    "full disk": fill_disk,
}


class Moments:
    """Counts the moments of this process on `folder`, by kind, and acts in the one that is chosen: (kind, number)."""

    def __init__(self, folder, chosen, act):
        self.folder, self.chosen, self.act, self.counts = str(folder), chosen, act, Counter()
        sys.addaudithook(self.see)

    def see(self, event, arguments):
        if event in STEPS and str(arguments[0]).startswith(self.folder):
            reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if not reads and threading.current_thread() is threading.main_thread():
                self.one("step")

    def one(self, kind):
        self.counts[kind] += 1
        if (kind, self.counts[kind]) == self.chosen:
            self.act()

    def opened(self, path, *mode, **options):
        """open(), with a moment in the middle of every write."""
        return HalfWriter(open(path, *mode, **options), lambda: self.one("write"))

    def bars(self):
        """tqdm with a moment after every item."""
        from tqdm import tqdm

        moments = self

        class Bar(tqdm):
            def __iter__(self):
                for item in super().__iter__():
                    yield item
                    moments.one("batch")

        return Bar


class HalfWriter:
    """A file whose writes have a middle."""

    def __init__(self, file, middle):
        self.file, self.middle = file, middle

    def write(self, data):
        data = data if isinstance(data, str) else bytes(data)
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        self.middle()
        self.file.write(data[half:])
        return len(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def print_into(output):
    """In the forked process: from now on its output goes into the pipe."""
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))


def play(script, arguments, folder, chosen, act, output):
    """In the forked process: run `script` under its moments; its output goes into the pipe."""
    print_into(output)
    from engine import batches, cached_features, shards, training
    from models import taxonomy, w2v_aasist
    from utils import errors, files

    moments = Moments(folder, chosen, ACTS.get(act))
    files.open, batches.tqdm, training.tqdm = moments.opened, moments.bars(), moments.bars()
    shards.SECONDS_BETWEEN_SHARDS = 0  # a shard a batch
    cached_features.BATCHES_BETWEEN_SAVES = 2
    use_small_model()
    w2v_aasist.W2vAasistBackEnd = small_model
    taxonomy.W2v2Aasist.samples = 12_000  # instead of 64600
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main = importlib.import_module(script).main
    try:
        errors.run(lambda: main(arguments))
    finally:
        print(f"\n{MARK}{json.dumps(moments.counts)}")


def start_server():
    """Start what forks the processes: it finds our modules, and computes with one thread, as a fork must."""
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    forkserver.ensure_running()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


def start(target, *arguments):
    """Fork a process that runs target(*arguments, pipe); gives a function that waits for (its exit status, output)."""
    start_server()
    read, write = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=target, args=(*arguments, write))
    process.start()
    write.close()

    def wait():
        with open(read.fileno(), closefd=False, errors="replace") as pipe:
            text = pipe.read().replace("\r", "\n")
        process.join()
        read.close()
        return process.exitcode, text

    return wait


def run_at_the_signal(script, arguments, barrier, output):
    """In the forked process: run `script` as soon as the others have come to the barrier."""
    print_into(output)
    from utils import errors

    main = importlib.import_module(script).main
    barrier.wait()
    errors.run(lambda: main(arguments))


def run_together(*runs):
    """[(exit status, output)] of scripts that begin at the same moment; each of `runs` is (script, arguments)."""
    start_server()
    barrier = SERVER.Barrier(len(runs))
    waits = [start(run_at_the_signal, script, list(map(str, arguments)), barrier) for script, arguments in runs]
    return [wait() for wait in waits]


def played(script, arguments, folder, chosen=None, act=None):
    """What became of `script`, run with `act` of ACTS in the `chosen` moment (kind, number) of those on `folder`."""
    status, text = start(play, script, list(map(str, arguments)), folder, chosen, act)()
    output, _, moments = text.rpartition(MARK)
    return Ended(status, (output or text).strip(), json.JSONDecoder().raw_decode(moments)[0] if output else {})
