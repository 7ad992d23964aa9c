"""Write the result of an aggregation: the last step, on one element."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import apache_beam as beam

from celes_beam.sales.scan import Questions, Scanned, merge_scanned
from celes_beam.stores.results.engine_answer import Committed, check_read, check_sorted
from celes_beam.stores.results.results import make_result, write_result
from celes_beam.stores.results.sorted_parts import SortedPart


@dataclass(eq=False)
class WriteResult(beam.PTransform):
    """PCollection of ``Scanned``, none or more -> the files of the result in ``folder``.

    ``questions`` are those of the scan. ``parts`` are the sorted parts, which must be there first,
    when the rows were to be sorted. ``rows`` and ``total`` are what a lake says it holds. Raises
    ``IntegrityError`` when rows were lost or won on the way.
    """

    folder: str
    engine: str
    questions: Questions
    parts: beam.PCollection[SortedPart] | None = None
    rows: int | None = None
    total: Decimal | None = None

    def expand(self, scanned: beam.PCollection[Scanned]) -> beam.PCollection[None]:
        parts = None if self.parts is None else beam.pvalue.AsList(self.parts)
        return (
            scanned.pipeline
            | beam.Impulse()
            | beam.Map(
                _write,
                beam.pvalue.AsIter(scanned),
                parts,
                folder=self.folder,
                engine=self.engine,
                questions=self.questions,
                committed=(self.rows, self.total),
            )
        )


def _write(
    _: bytes,
    found: Iterable[Scanned],
    parts: Sequence[SortedPart] | None,
    *,
    folder: str,
    engine: str,
    questions: Questions,
    committed: Committed,
) -> None:
    scanned = merge_scanned(found, questions)
    check_read(scanned.sums.whole, committed)
    if parts is not None:
        check_sorted(sum(part.rows for part in parts), scanned.sums.whole)
    write_result(folder, make_result(engine, scanned.sums, scanned.top if questions.top else None))
