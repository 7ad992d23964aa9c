"""What every command writes: to a console, and as a summary in JSON; quick to import."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from celes_beam.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def print_next_steps(console: Console, commands: Sequence[str]) -> None:
    """Print what can be run next, a line each, so that it can be copied as it stands."""
    console.print("Next:")
    for command in commands:
        console.print(f"  {_reachable(command)}", soft_wrap=True, highlight=False, markup=False)


def _reachable(command: str) -> str:
    """Name the program of a command by its path, unless the shell finds that very one by name."""
    program, _, arguments = command.partition(" ")
    folder = Path(sys.executable).parent
    found = shutil.which(program)
    if found is None or Path(found).parent != folder:
        program = os.path.relpath(folder / program)
    return f"{program} {arguments}"


def facts_table() -> Table:
    """An empty table of names and figures, a fact a row."""
    from rich.table import Table  # noqa: PLC0415 - slow to import: not for --help

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(justify="right")
    return facts


def check_json_target(
    path: str | None, outside: str | None = None, *, flag: str = "--summary_json"
) -> None:
    """Raise ``ConfigError`` when a file could not be written to ``path`` once the work is done.

    It may not be in the folder ``outside``, if there is one, where every file is data. ``flag`` is
    what named it.
    """
    if path is None:
        return
    target = Path(path).resolve()
    if outside is not None and Path(outside).resolve() in (target, *target.parents):
        raise ConfigError(
            f"{flag} {path} is inside {outside}, where every file is data: name a file elsewhere"
        )
    if target.is_dir() or not os.access(target if target.exists() else target.parent, os.W_OK):
        raise ConfigError(f"{flag} {path} cannot be written: name a file in a folder that is there")


def write_json(path: str, content: dict[str, Any]) -> None:
    """Write JSON to a file, whole or not at all. Raises ``StorageError`` naming the path."""
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    target = Path(path)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        # A program would take half of it, or nothing, for what a run of its own had to say.
        if target.is_file() and not target.is_symlink():
            with suppress(OSError):
                target.unlink()
        raise StorageError(
            f"--summary_json {path} could not be written: {error.strerror}; the run itself is done"
        ) from error


def console_for(stream: IO[str]) -> Console:
    """A console that keeps tables whole where nobody watches (a log, a pipe)."""
    from rich.console import Console  # noqa: PLC0415 - slow to import: not for --help

    return Console(file=stream, width=None if stream.isatty() else 100)
