"""Bad input ends a script with one clear line and exit status 2, never with a traceback."""

import os
import sys


class InputError(ValueError):
    """What the user gave cannot be used. The message names the file, the line, what was found and the remedy."""

    def __init__(self, message):
        # A DataLoader worker hands its error on as text with a traceback in front: keep the line alone.
        super().__init__(str(message).rpartition("InputError: ")[2].strip())


class MissingInput(InputError):
    """A corpus or a result of an earlier script is not there at all; --skip_missing passes over it."""


def run(main):
    """Call a script's `main()`: bad input exits with status 2, Ctrl-C with 130, each after one line on stderr."""
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
