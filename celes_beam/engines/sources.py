"""What an engine reads that scans files by itself: files alike, and what their paths say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import COLUMN_NAMES, SCHEMA
from celes_beam.errors import ConfigError


@dataclass(frozen=True)
class Source:
    """Files of a lake with the same columns in them and the same texts in their paths.

    ``held`` pairs contract columns with their names in the files, ``fixed`` with their one text:
    an engine that went by the folders itself would take the region ``01`` for the number 1.
    """

    held: Mapping[str, str]
    fixed: Mapping[str, str]
    paths: list[str] = field(default_factory=list)


def sources(job: EngineJob) -> list[Source]:
    """The files of a job, those that are alike together, with the columns that the job needs."""
    found: dict[tuple[tuple[str, ...], ...], Source] = {}
    for file in job.files:
        held = {c: name for c, name in file.held.items() if c in job.columns}
        fixed = {c: text for c, text in file.fixed.items() if c in job.columns}
        key = (*held.items(), *fixed.items())
        found.setdefault(key, Source(held, fixed)).paths.append(file.path)
    return list(found.values())


def order_of(job: EngineJob) -> list[tuple[str, bool]]:
    """The columns that order the first rows, and whether each falls: all but the first rise."""
    order = job.options.order
    others = [(column, False) for column in COLUMN_NAMES if column != order.column]
    return [(order.column, order.descending), *others]


def check_only_summing(job: EngineJob) -> None:
    """Raise ``ConfigError`` when rows are to be written that the engine is not asked for here."""
    if job.options.write_sorted:
        raise ConfigError(
            f"--write_sorted: {job.engine.title} is here to be compared, and writes no rows; "
            "use python -m pipelines.aggregate"
        )


def no_rows(job: EngineJob) -> pa.Table:
    """The columns that a job needs, without rows: what a lake without files holds."""
    return SCHEMA.empty_table().select(list(job.columns))
