"""One engine, once: a process of its own, its answer, and what it took."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from celes_beam.compare.catalog import Engine
from celes_beam.compare.measured import Ended, run_measured
from celes_beam.local.processes import end_of_log
from celes_beam.stores.results.results import Result

_LOG_LINES = 50


@dataclass(frozen=True)
class Question:
    """What every engine is asked, and how long it may take for it, in seconds.

    ``flags`` go to all engines, ``own_flags`` to the one of that name; engines that ask a table of
    BigQuery are given ``table`` and not ``root``.
    """

    root: str
    table: str | None = None
    flags: tuple[str, ...] = ()
    input_flags: tuple[str, ...] = ()
    own_flags: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout: float | None = None


@dataclass(frozen=True)
class Attempt:
    """How it came out: a result and the seconds of its work, or why there is none."""

    ended: Ended
    result: Result | None = None
    work_seconds: float = 0.0
    why: str = ""

    @property
    def startup_seconds(self) -> float:
        """What the process took beside its work: interpreter, imports, session, cluster."""
        return max(0.0, self.ended.seconds - self.work_seconds)


class _Told(Result, frozen=True, kw_only=True):
    """What an engine writes to ``--summary_json``, as far as it matters here."""

    seconds: float


def run_engine(engine: Engine, question: Question, environment: Mapping[str, str]) -> Attempt:
    """Run an engine on what is asked, ``environment`` added to that of this process.

    Whatever becomes of the engine, there is an ``Attempt``. Raises ``MissingProgramError`` without
    psutil.
    """
    with tempfile.TemporaryDirectory(prefix="celes-compare-") as name:
        summary, log = Path(name, "summary.json"), Path(name, "log")
        command = [sys.executable, "-m", engine.program, *_flags(engine, question)]
        command += ["--summary_json", str(summary), "--progress", "off"]
        # What an engine leaves behind, killed or not, is removed with the folder.
        own = {**os.environ, **environment, "TMPDIR": name}
        with log.open("wb") as file:
            ended = run_measured(
                command,
                file,
                file,
                environment=own,
                timeout=question.timeout,
            )
        if ended.code != 0:
            return Attempt(ended, why=_why(ended, engine, log, question))
        try:
            told = msgspec.json.decode(summary.read_bytes(), type=_Told)
        except FileNotFoundError:
            return Attempt(ended, why="it ended without a result: look at its --engine_flags")
        except (OSError, msgspec.DecodeError) as error:
            return Attempt(ended, why=f"it ended without a result: {error}")
    fields = {name: getattr(told, name) for name in Result.__struct_fields__}
    return Attempt(ended, Result(**{**fields, "engine": engine.name}), told.seconds)


def _flags(engine: Engine, question: Question) -> list[str]:
    own = [*question.flags, *question.own_flags.get(engine.name, ())]
    if engine.of_table:
        return ["--bigquery_table", str(question.table), *own]
    return ["--input", question.root, *question.input_flags, *own]


def _why(ended: Ended, engine: Engine, log: Path, question: Question) -> str:
    if ended.code is None:
        return f"it did not end within {question.timeout:g} s (--timeout)"
    if ended.code == -signal.SIGKILL:
        return "it was killed (SIGKILL): the system does that when memory is short"
    lines = end_of_log(log, _LOG_LINES)
    # A JVM goes on to log after the job has said what went wrong.
    prefix = f"{engine.program}: "
    ours = [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
    said = (ours or lines)[-1]
    if ended.code < 0:
        return f"it was ended by {signal.Signals(-ended.code).name}: {said}"
    return f"{said} (exit code {ended.code})"
