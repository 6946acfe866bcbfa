"""Bad input ends a script with one clear line and exit status 2, never with a traceback."""

import os
import signal
import sys
from contextlib import contextmanager


class InputError(ValueError):
    """What the user gave cannot be used. The message names the file, the line, what was found and the remedy."""

    def __init__(self, message):
        # A DataLoader worker hands its error on as text with a traceback in front: keep the line alone.
        super().__init__(str(message).rpartition("InputError: ")[2].strip())


class MissingInput(InputError):
    """A corpus or a result of an earlier script is not there at all; --skip_missing passes over it."""


def printable(text):
    """`text` on one line that does nothing to a terminal, whatever file names are in it."""
    letters = (letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(text))
    return "".join(letters)


def print_error(message):
    print(f"error: {printable(message)}", file=sys.stderr)


class Terminated(KeyboardInterrupt):
    """SIGTERM, which batch systems send before they end a process: all is closed and told as after Ctrl-C."""


@contextmanager
def resume_hint(how):
    """When Ctrl-C or SIGTERM stops the block, run() tells the user how to go on: the text that `how()` gives."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.how = how()
        raise


def terminate_cleanly():
    """Let SIGTERM raise Terminated in this process; a process that it has forked just ends.

    Not under torchrun: its processes may wait for one another where no exception reaches them.
    """
    process = os.getpid()

    def end(*_):
        if os.getpid() != process:
            os._exit(128 + signal.SIGTERM)
        raise Terminated

    if "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, end)


def run(main):
    """Call a script's `main()`: bad input exits with status 2, Ctrl-C with 130, SIGTERM with 143.

    Each after one line on stderr.
    """
    terminate_cleanly()
    for stream, names in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if hasattr(stream, "reconfigure"):  # file names that are not UTF-8 come in, and go out, without an error
            stream.reconfigure(errors=names)
    try:
        main()
    except InputError as error:
        print_error(error)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        print(": ".join(("stopped", *filter(None, [getattr(stop, "how", "")]))), file=sys.stderr)
        raise SystemExit(128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)) from None
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
