"""What goes wrong in Spark, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException

from celes_beam.commands.command_line import our_error
from celes_beam.commands.engine_job import EngineJob
from celes_beam.errors import CelesError, StorageError, UsageError

_NO_MEMORY = re.compile(
    r"OutOfMemoryError|Unable to acquire \d+ bytes of memory|exceeding memory limits"
    r"|exit code:? (?:52|137)|exited with code (?:52|137)"
)
_FILE = re.compile(r"(?:file:/|gs://).*?\.parquet")
_STARTS = re.compile(r"^(?:: )?(?:[\w$]+\.)+([\w$]+(?:Exception|Error)): ?(.*)")
_MOST_SAID = 300
_LOG_BYTES = 65_536


@contextmanager
def spark_errors(job: EngineJob, log: Path | None = None) -> Iterator[None]:
    """Raise what Spark, whose Java writes to ``log``, raises in the body as an error of ours.

    ``UsageError`` naming ``--memory`` when there was too little, what ``LakeReader`` raises for a
    file that cannot be read, and ``StorageError`` for anything else.
    """
    try:
        yield
    except (Py4JError, PySparkException, ConnectionError) as error:
        raise _explained(job, error, log) from error


def _explained(job: EngineJob, error: Exception, log: Path | None) -> CelesError:
    text = str(error)
    ours = our_error(error)
    if ours is not None:
        return ours
    # Java that ran out of memory in this process ends, and only its log says why.
    if _NO_MEMORY.search(text) or (log is not None and _NO_MEMORY.search(_end_of(log))):
        return out_of_memory(job)
    named = _FILE.search(text)
    if named is not None:
        _read_again(job, named[0])
    return StorageError(f"Spark failed: {shortened(text)}")


def out_of_memory(job: EngineJob) -> UsageError:
    given = job.flags.memory
    said = f"--memory {given} is too little for this" if given else "it needs more"
    return UsageError(f"Spark ran out of memory: {said}; give more, such as --memory 4g")


def _end_of(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_BYTES))
        return file.read().decode(errors="replace")


def shortened(text: str) -> str:
    """The telling line of a stack of calls: the innermost cause, or else the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    found = [match for line in [*causes[-1:], *lines] if (match := _STARTS.match(line))]
    said = f"{found[0][1]}: {found[0][2]}" if found else (lines or ["it does not say why"])[0]
    return said[:_MOST_SAID]


def _read_again(job: EngineJob, uri: str) -> None:
    """Read a file that Spark could not, so that it is said as all engines say it."""
    for file in job.files:
        if uri.endswith(file.file.name) or unquote(uri).endswith(file.file.name):
            for piece in job.found.reader.plan(file.file):
                for _ in job.found.reader.read(piece, job.columns):
                    pass
