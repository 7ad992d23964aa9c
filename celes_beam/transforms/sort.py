"""Sort a lake: rows go to spill files and from there to sorted parts; only descriptions cross.

pieces ─ Spill (split by range of the key) ─ GroupByKey ─ SortRanges ─ parts
             │ bounds
scanned ─ choose bounds (a sample of the keys)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.commands.progress import meter
from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ConfigError
from celes_beam.sales.columns import Ints
from celes_beam.sales.order import choose_bounds
from celes_beam.sales.scan import Questions, Scanned, merge_scanned
from celes_beam.stores.lake.lake_reader import LakeReader, Piece
from celes_beam.stores.results.sorted_parts import Run, SortedPart, SpillWriter, sort_part
from celes_beam.stores.share_out import share_out
from celes_beam.transforms.pool import check_threads, in_global_window


@dataclass(eq=False)
class SortSales(beam.PTransform):
    """PCollection of ``Piece`` -> PCollection of ``SortedPart``, in no order.

    ``scanned`` is what a scan of the same pieces found, with a sample, by these ``questions``.
    Parts of about ``part_rows`` rows are written as ``<parts>/part-00000.parquet`` and so on, in
    order of the key and within it of the other columns; spill files go to ``spills``. ``threads``
    as in ``ScanSales``.
    """

    reader: LakeReader
    scanned: beam.PCollection[Scanned]
    questions: Questions
    part_rows: int
    spills: str
    parts: str
    run: str
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)
        if self.part_rows < 1:
            raise ConfigError(f"part_rows={self.part_rows}: expected 1 or more")

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[SortedPart]:
        bounds = (
            pieces.pipeline
            | beam.Impulse()
            | "Choose bounds"
            >> beam.Map(
                _bounds,
                beam.pvalue.AsIter(self.scanned),
                questions=self.questions,
                part_rows=self.part_rows,
            )
        )
        return (
            pieces
            | "Spill" >> beam.ParDo(_SpillFn(self), beam.pvalue.AsSingleton(bounds))
            | "By range" >> beam.GroupByKey()
            | "Sort ranges" >> beam.ParDo(_SortFn(self))
        )


def _bounds(_: bytes, found: Iterable[Scanned], *, questions: Questions, part_rows: int) -> Ints:
    scanned = merge_scanned(found, questions)
    return choose_bounds(scanned.sample, -(-scanned.sums.whole.rows // part_rows))


class _SpillFn(beam.DoFn):
    def __init__(self, how: SortSales) -> None:
        self._reader = how.reader
        self._order = how.questions.order
        self._folder = how.spills
        self._run = how.run
        self._threads = how.threads

    def start_bundle(self) -> None:
        self._pieces: list[Piece] = []
        self._bounds: Ints | None = None

    def process(self, piece: Piece, bounds: Ints) -> None:
        self._pieces.append(piece)
        self._bounds = bounds

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for runs in share_out(self._pieces, self._spill, threads=self._threads):
            yield from map(in_global_window, runs)

    def _spill(self, pieces: Iterator[Piece]) -> list[tuple[int, Run]]:
        if self._bounds is None:
            return []
        writer = SpillWriter(self._folder, self._order, self._bounds)
        try:
            for piece in pieces:
                for sales in self._reader.read(piece, COLUMN_NAMES):
                    writer.write(sales)
                meter(self._run).add(done=piece.bytes)
            return writer.close()
        except BaseException:
            writer.abandon()
            raise


class _SortFn(beam.DoFn):
    def __init__(self, how: SortSales) -> None:
        self._folder = how.parts
        self._order = how.questions.order
        self._run = how.run
        self._threads = how.threads

    def start_bundle(self) -> None:
        self._ranges: list[tuple[int, list[Run]]] = []

    def process(self, spilled: tuple[int, Iterable[Run]]) -> None:
        number, runs = spilled
        self._ranges.append((number, list(runs)))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for parts in share_out(self._ranges, self._sort, threads=self._threads):
            yield from map(in_global_window, parts)

    def _sort(self, ranges: Iterator[tuple[int, list[Run]]]) -> list[SortedPart]:
        parts = []
        for number, runs in ranges:
            part = sort_part(self._folder, number, runs, self._order)
            meter(self._run).add(done=part.bytes)
            parts.append(part)
        return parts
