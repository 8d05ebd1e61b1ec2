"""Entry points of the console scripts, which answer --help and Ctrl-C before the command itself is imported.

Importing a command imports torch, which takes seconds. This module imports only what a script has loaded anyway.
"""

import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from keyword import iskeyword
from types import FrameType

from vocoder.commands import CONFIG_PACKAGES, INTERRUPTED
from vocoder.commands.streams import open_streams, write_line


def preprocess() -> int:
    return run("preprocess")


def doctor() -> int:
    return run("doctor")


def train() -> int:
    return run("train")


def synthesize() -> int:
    return run("synthesize")


def evaluate() -> int:
    return run("evaluate")


def import_() -> int:
    return run("import")


def run(command: str) -> int:
    """Run a command on the arguments in sys.argv; return its exit code.

    Ctrl-C is one line and exit code 130 at any time. Where SIGINT is ignored, as for a shell's background jobs, it
    stays ignored.

    Raises:
        SystemExit: the command ends with another code than 0.
    """
    program = f"vocoder-{command}"
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    try:
        if interruptible:
            _exit_at_interrupt(program)
        if sys.argv[1:] in (["--help"], ["-h"]):
            from vocoder.commands.help import help_text

            write_line(sys.stdout, help_text(program, CONFIG_PACKAGES[command], command))
            return 0
        open_streams()
        module = import_module(f"vocoder.commands.{command}{'_' * iskeyword(command)}")
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        module.main()
    except KeyboardInterrupt:
        write_line(sys.stderr, f"{program}: interrupted")
        return INTERRUPTED
    finally:
        if interruptible:  # the result stands; Ctrl-C would only break off the interpreter's own clean-up
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    return 0


def _exit_at_interrupt(program: str) -> None:
    """End the process at SIGINT, without an exception.

    During an import an exception would not do: some modules catch every exception of what they import, others turn it
    into an ImportError. There is nothing to clean up yet.
    """

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):  # standard error may be closed
            os.write(2, f"{program}: interrupted\n".encode())
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)


def _is_worker() -> bool:
    """Whether this process was started by multiprocessing, which imports the script again in each worker."""
    multiprocessing = sys.modules.get("multiprocessing")
    return multiprocessing is not None and multiprocessing.parent_process() is not None


if _is_worker():  # Ctrl-C reaches all processes of a terminal; only the parent is to report it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
