"""How scripts end: bad input gives one clear line and exit status 2, never a traceback."""

import errno
import io
import os
import signal
import sys
from contextlib import contextmanager

# What the messages of libraries say when memory runs out; only some of them have a class of their own.
OUT_OF_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "killed by signal: Killed"),  # torch, its loader
    *("failed to map segment", "annot allocate memory"),  # a library that cannot be loaded, which is an ImportError
    *("could not create a primitive", "Failed to serialize proto"),  # oneDNN, protobuf
)

NOT_UTF8 = "surrogateescape"  # errors=NOT_UTF8 reads and writes file names that are not UTF-8 without a change
LONGEST_MESSAGE = 2000  # characters; the beginning and the end, which has the remedy, stay


class InputError(ValueError):
    """The input cannot be used. The message names the file and the line, says what is wrong and what to do."""

    def __init__(self, message):
        # A DataLoader worker passes its error on as text that begins with a traceback: keep only the last line.
        text = str(message).rpartition("InputError: ")[2].strip()
        if len(text) > LONGEST_MESSAGE:  # it quotes a line or a field without end
            half = LONGEST_MESSAGE // 2
            text = f"{text[:half]} ... {text[-half:]}"
        super().__init__(text)


class MissingInput(InputError):
    """A corpus, or the result of an earlier script, is not there at all; --skip_missing skips it."""


def printable(text):
    """`text` on one line, with escapes for all characters that would control the terminal."""
    letters = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(text))
    return "".join(letters)


def print_error(message):
    print(f"error: {printable(message)}", file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they end a process: the script ends as it does after Ctrl-C."""


@contextmanager
def resume_hint(how):
    """When Ctrl-C or SIGTERM stops the block, run() prints how to continue: the text that `how()` gives."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.how = how()
        raise


def terminate_cleanly():
    """Let SIGTERM raise Terminated in this process; processes that it forks end at once.

    Under torchrun nothing changes, because its processes may wait for each other where no exception reaches them.
    """
    process = os.getpid()

    def end(*_):
        if os.getpid() != process:
            os._exit(128 + signal.SIGTERM)
        raise Terminated

    if "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, end)


class SteadyOutput(io.FileIO):
    """Standard output or standard error whose reader may end, and whose disk may be full: the script goes on.

    What is printed then is dropped, so that the script still saves its files and ends with its own exit status.
    `failure` is the first error other than an ended reader.
    """

    failure = None

    def write(self, data):
        try:
            return super().write(data)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # Windows says EINVAL of a pipe without a reader
                self.failure = self.failure or error
            return len(data)


def steady_stream(stream):
    """`stream` over a SteadyOutput of the same file; it prints file names that are not UTF-8 with escapes."""
    stream.flush()
    how = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
    raw = SteadyOutput(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "backslashreplace", **how)


def prepare_streams():
    """Make standard input, output and error usable where they are closed, and where they end early."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the shell: the next file that is opened would take its number
            stream = open(os.devnull, mode)  # noqa: SIM115
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)  # holds it open
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors=NOT_UTF8)
    sys.stdout, sys.stderr = map(steady_stream, (sys.stdout, sys.stderr))


def lost_output():
    """Why standard output could not be written, in words, other than because its reader has ended; "" if it could."""
    sys.stdout.flush()
    failure = sys.stdout.buffer.raw.failure
    text = "standard output cannot be written: {}. Send it elsewhere; what goes into files is there"
    return text.format(failure.strerror) if failure else ""


def with_output(main):
    """Call `main()`; raises InputError, or beside an error status prints it, when its output could not be written."""
    try:
        main()
    except SystemExit as end:
        if end.code:
            if lost := lost_output():
                print_error(lost)
            raise
    if lost := lost_output():
        raise InputError(lost)


def describe_failure(error):
    """The line about an error of the file system or of memory; None for another error, which is a fault of ours."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes, os.PathLike)) else ""
        return f"{name}{error.strerror}"
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY):
        return (
            "there is too little memory for this: give a smaller --batch_size or --num_workers, or end other programs"
        )
    return None


def run(main):
    """Call `main()` of a script. Bad input exits with status 2, Ctrl-C with 130, SIGTERM with 143, after one line.

    A file system or a memory that fails where no message was foreseen is bad input too. A reader of the output that
    ends early, such as `head`, changes neither files nor status.
    """
    terminate_cleanly()
    prepare_streams()
    try:
        with_output(main)
    except InputError as error:
        print_error(error)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        how = getattr(stop, "how", "")
        print(f"stopped: {how}" if how else "stopped", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise SystemExit(128 + number) from None
    except Exception as error:
        line = describe_failure(error)
        if line is None:
            raise
        print_error(line)
        raise SystemExit(2) from None
