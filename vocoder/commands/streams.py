"""Standard output and standard error: each may be a terminal, a file, a closed pipe, or missing."""

import os
from contextlib import suppress
from typing import TextIO


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
