"""How scripts end: bad input gives one clear line and exit status 2, never a traceback."""

import os
import signal
import sys
from contextlib import contextmanager


class InputError(ValueError):
    """The input cannot be used. The message names the file and the line, says what is wrong and what to do."""

    def __init__(self, message):
        # A DataLoader worker passes its error on as text that begins with a traceback: keep only the last line.
        super().__init__(str(message).rpartition("InputError: ")[2].strip())


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


def run(main):
    """Call `main()` of a script. Bad input exits with status 2, Ctrl-C with 130, SIGTERM with 143, after one line."""
    terminate_cleanly()
    for stream, names in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace")):
        if hasattr(stream, "reconfigure"):  # so that file names that are not UTF-8 can be read and printed
            stream.reconfigure(errors=names)
    try:
        main()
    except InputError as error:
        print_error(error)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        how = getattr(stop, "how", "")
        print(f"stopped: {how}" if how else "stopped", file=sys.stderr)
        number = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
        raise SystemExit(128 + number) from None
    except BrokenPipeError:  # the program that reads the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
