"""The job of an engine other than Beam: the flags, input, checks and result that all have alike.

An engine is a module ``<name>_jobs/aggregate.py`` with an ``Engine`` (``engine_flags.py``, quick to
import). Its ``run(argv)`` parses with ``Engine.parse``, which also finds out whether its packages
are there, and only then imports this module and two functions of its own, which it hands to
``run_engine``:

``session(job)``
    A context manager that starts what the engine works in (a cluster, a Spark session) and stops
    it. It is entered after flags, packages and input were found right, and not timed.
    ``no_session`` is for an engine that needs none.
``aggregate(job, opened)``
    Reads exactly ``job.files``, each one's columns under the names of ``EngineFile.held``, those
    in its path from ``EngineFile.fixed``; of the contract's columns only ``job.columns``. Gives
    an ``EngineAnswer``: exact sums by category and by region as ``Share`` (rows and whole cents;
    ``engine_answer.share`` makes one of rows and a Decimal), and with ``job.options.top`` the
    first rows by ``job.options.order``, ties by the other columns, ascending, in the order of the
    contract, texts by code points. With ``job.options.write_sorted`` it leaves all rows in that
    order as ``part-00000.parquet``, ``part-00001.parquet``, … in ``job.sorted_folder`` (a folder of
    this machine, which is not there yet; ``sorted_parts.write_part`` makes one file of a batch),
    also when the result goes to gs://. It may tell how far it is with ``job.advance``.

    A plain folder may hold anything. Either each batch goes through ``job.sales`` (on workers,
    ``engine_files.contract_sales``), which turns it into the contract's columns and raises the
    same ``InputError`` as Beam's reader; or the engine judges by itself: it counts rows with a
    null, an id below 1, a date outside ``job.rules`` (``min_us``, ``max_us``), or an amount that
    is inexact or outside 0.01 to 9,999,999,999.99 as ``unacceptable``, and we name the first one.
    Texts are judged here, by the keys of the sums. Files of a lake (``job.is_lake``) hold no such
    rows.

``run_engine`` raises the errors of ``celes_beam.errors``. Rows and total must be those that were
committed, both sums must agree, and as many rows must be sorted as were read: else
``IntegrityError``, and nothing is published.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from celes_beam.commands.aggregate_options import (
    AggregateOptions,
    AggregateSummary,
    aggregate_options,
)
from celes_beam.commands.command_line import imports_are_over
from celes_beam.commands.console import check_json_target
from celes_beam.commands.engine_flags import Engine
from celes_beam.commands.progress import BYTES, meter, watch
from celes_beam.commands.read_anew import read_anew
from celes_beam.contract import AMOUNT, CATEGORY, COLUMN_NAMES, REGION, Rules
from celes_beam.stores.lake.engine_files import EngineFile, contract_sales, engine_files
from celes_beam.stores.lake.lake_input import LakeInput, open_input
from celes_beam.stores.results.engine_answer import (
    EngineAnswer,
    accept_answer,
    check_sorted,
    sorted_rows,
)
from celes_beam.stores.results.result_folder import RESULT
from celes_beam.stores.results.results import SORTED, make_result, write_result

Session = TypeVar("Session")


@dataclass(frozen=True)
class EngineJob:
    """What an engine is asked.

    ``files`` are to be read, all of them and no other; ``folder`` is a work folder of this machine,
    removed at the end.
    """

    engine: Engine
    flags: argparse.Namespace
    options: AggregateOptions
    found: LakeInput
    files: tuple[EngineFile, ...]
    folder: str

    @property
    def is_lake(self) -> bool:
        """Whether the files were committed, and their values checked before that."""
        return self.found.rows is not None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the contract that must be read, in its order."""
        if self.options.top or self.options.write_sorted:
            return COLUMN_NAMES
        return AMOUNT, CATEGORY, REGION

    @property
    def rules(self) -> Rules:
        """The bounds of what is acceptable in a plain folder."""
        return Rules(self.options.started)

    @property
    def sorted_folder(self) -> str:
        """Where sorted parts go."""
        return str(Path(self.folder) / RESULT / SORTED)

    def sales(self, file: EngineFile, batch: pa.RecordBatch, first_row: int) -> pa.RecordBatch:
        """Turn a batch that was read of a file, from ``first_row`` on, into ``columns``.

        Raises ``InputError`` for a value of a plain folder that is not acceptable.
        """
        return contract_sales(self.found.reader, file, self.columns, batch, first_row)

    def advance(self, *, rows: int = 0, done: int = 0) -> None:
        """Say that so many rows and bytes of files were read since the last call."""
        meter(self.options.run_id).add(rows=rows, done=done)


@contextmanager
def no_session(job: EngineJob) -> Iterator[None]:
    """The session of an engine that works in this process."""
    yield


def run_engine(
    engine: Engine,
    flags: argparse.Namespace,
    session: Callable[[EngineJob], AbstractContextManager[Session]],
    aggregate: Callable[[EngineJob, Session], EngineAnswer],
) -> AggregateSummary:
    """Run the job that parsed ``flags`` ask for, and say what came of it.

    The seconds of the summary are those of ``aggregate``, sorted parts included.
    """
    options = aggregate_options(flags)
    for folder in filter(None, (flags.input, flags.output)):
        check_json_target(flags.summary_json, folder)

    def find() -> LakeInput:
        return open_input(options.input, options.started, options.headers)

    found = find()
    options.target.check(options.input, overwrite=options.overwrite)

    def read(found: LakeInput) -> AggregateSummary:
        files = engine_files(found)
        with options.target.work_folder() as folder:
            job = EngineJob(engine, flags, options, found, files, folder)
            with session(job) as opened:
                imports_are_over()
                started = time.perf_counter()
                passes = engine.passes_when_sorted if options.write_sorted else 1
                with watch(options.run_id, found.bytes * passes, mode=flags.progress, unit=BYTES):
                    answer = aggregate(job, opened)
                seconds = time.perf_counter() - started
            _write(job, answer)
            result = options.target.publish(
                folder, with_sorted=options.write_sorted, overwrite=options.overwrite
            )
        return AggregateSummary(result, options, len(found.files), found.bytes, seconds)

    summary = read_anew(found, find, read)
    if flags.summary_json:
        summary.write_json(flags.summary_json)
    return summary


def _write(job: EngineJob, answer: EngineAnswer) -> None:
    order, top = job.options.order, job.options.top
    sums, first = accept_answer(answer, job.found, job.columns, order, top)
    if job.options.write_sorted:
        check_sorted(sorted_rows(job.sorted_folder), sums.whole)
    write_result(str(Path(job.folder) / RESULT), make_result(job.engine.name, sums, first))
