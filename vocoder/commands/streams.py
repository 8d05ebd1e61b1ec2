"""Standard output and standard error: each may be a terminal, a file, a closed pipe, or missing."""

import os
import sys
from contextlib import suppress
from typing import TextIO


def open_streams() -> None:
    """Open those of the three standard streams that are closed (`2>&-`), as daemons have them, on the null device.

    Otherwise Python's streams are None, which libraries do not expect; and the next file that is opened, perhaps one of
    the store, gets the descriptor 2, to which they write their messages.
    """
    for descriptor, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free descriptor, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def write_line(stream: TextIO | None, line: str) -> None:
    """Write a line to sys.stdout or sys.stderr at once; do nothing where nobody can read it.

    Python's stream is None where the descriptor was closed (`2>&-`). A pipe is closed when its reader has ended, as
    `head` does. The rest of the output then goes to the null device, because bytes that stay in the buffer of a closed
    pipe would change the exit code.
    """
    if stream is None:
        return
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def redraws_lines(stream: TextIO | None) -> bool:
    """Whether a progress bar can redraw its line: on a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
