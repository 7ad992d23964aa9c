"""How a command line starts and ends: log lines, one-line errors, exit codes."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence

from celes_beam import errors
from celes_beam.errors import CelesError

_INTERRUPTED = 130
_BEAM_SUFFIX = re.compile(r"\s*\[while running [^\]]*\]")
_OUR_ERROR_IN_TEXT = re.compile(r"celes_beam\.errors\.(\w+): ([^\n]+)")


def run_command(program: str, command: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run ``command(argv)`` and return its exit code; an error becomes one line on stderr.

    Set ``CELES_TRACEBACK=1`` to see the traceback as well.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("celes_beam").setLevel(logging.INFO)
    show_traceback = bool(os.environ.get("CELES_TRACEBACK"))
    if not show_traceback:
        # Beam logs the traceback of what a worker raises, once for each wrapping.
        logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    try:
        return command(argv)
    except KeyboardInterrupt:
        print(f"{program}: interrupted; nothing was committed", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away; a second complaint at exit would be noise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message, code = explain(error)
        if show_traceback:
            logging.getLogger("celes_beam").exception("%s", message)
        print(f"{program}: {message}", file=sys.stderr)
        return code


def explain(error: BaseException) -> tuple[str, int]:
    """One line for an error, and its exit code.

    Runners wrap what a worker raised: the original is looked for among the causes, and in the text
    of the error where the runner is another process.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, CelesError):
            return _one_line(str(seen)), seen.exit_code
        seen = seen.__cause__ or seen.__context__
    found = _OUR_ERROR_IN_TEXT.findall(str(error))
    if found:
        name, message = found[-1]
        kind = getattr(errors, name, CelesError)
        return _one_line(message), kind.exit_code
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}", 1
    lines = [line for line in str(error).splitlines() if line.strip()] or [""]
    return (
        f"{type(error).__name__}: {_one_line(lines[-1])} (CELES_TRACEBACK=1 shows where; please "
        "report it)",
        1,
    )


def _one_line(message: str) -> str:
    return " ".join(_BEAM_SUFFIX.sub("", message).split())
