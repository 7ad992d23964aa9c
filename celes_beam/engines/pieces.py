"""Sums piece by piece, of files that an engine cannot be given as they are.

Those of a plain folder may hold anything, and have to be checked; those below gs:// would need
another client, with credentials of its own, for each engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pyarrow as pa

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import SCHEMA
from celes_beam.sales.aggregate import Share
from celes_beam.sales.order import first_rows
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.lake_reader import Piece
from celes_beam.stores.results.engine_answer import EngineAnswer

AT_ONCE = 4
"""Pieces that are read while one is summed: from a bucket most of the time is waiting."""


def reads_files(job: EngineJob) -> bool:
    """Whether the engine can read the files by itself: those of a lake on a disk."""
    return job.is_lake and not job.found.root.startswith(GCS_SCHEME)


def answer_by_pieces(job: EngineJob, answer_of: Callable[[pa.Table], EngineAnswer]) -> EngineAnswer:
    """Read all pieces of the input in the contract's types, and add up the answers to each.

    Raises what the readers of lakes and plain folders do.
    """
    pieces = [piece for file in job.found.files for piece in job.found.reader.plan(file)]
    answers = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = iter(pieces)
        tables = [pool.submit(_table, job, piece) for piece in islice(waiting, AT_ONCE)]
        while tables:
            table = tables.pop(0).result()
            # One more is begun for each that is taken: never all of them at once.
            tables += [pool.submit(_table, job, piece) for piece in islice(waiting, 1)]
            answers.append(answer_of(table))
    return _merged(job, answers)


def _table(job: EngineJob, piece: Piece) -> pa.Table:
    schema = pa.schema([SCHEMA.field(name) for name in job.columns])
    batches = list(job.found.reader.read(piece, job.columns))
    return pa.Table.from_batches(batches).cast(schema) if batches else schema.empty_table()


def _merged(job: EngineJob, answers: Iterable[EngineAnswer]) -> EngineAnswer:
    by_category: dict[str | None, Share] = {}
    by_region: dict[str | None, Share] = {}
    tops = []
    for answer in answers:
        for merged, shares in ((by_category, answer.by_category), (by_region, answer.by_region)):
            for name, share in shares.items():
                merged[name] = merged[name] + share if name in merged else share
        if answer.top is not None:
            tops.append(pa.table(answer.top).select(SCHEMA.names).cast(SCHEMA))
    top = None
    if tops:
        batches = pa.concat_tables(tops).combine_chunks().to_batches()
        top = first_rows(batches[0], job.options.order, job.options.top) if batches else None
    return EngineAnswer(by_category, by_region, top)
