"""Aggregate a lake: pieces of files in, exact sums (and first rows, and a sample of keys) out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.commands.progress import meter
from celes_beam.sales.scan import Questions, Scan, Scanned, merge_scanned
from celes_beam.stores.lake.lake_reader import LakeFile, LakeReader, Piece
from celes_beam.stores.share_out import share_out
from celes_beam.transforms import metrics
from celes_beam.transforms.pool import check_threads, in_global_window


@dataclass(eq=False)
class PlanPieces(beam.PTransform):
    """PCollection of ``LakeFile`` -> PCollection of ``Piece``; ``spread`` shares them out.

    Where there is one worker alone, a shuffle of them is work for nothing.
    """

    reader: LakeReader
    spread: bool = True

    def expand(self, files: beam.PCollection[LakeFile]) -> beam.PCollection[Piece]:
        pieces = files | "Plan" >> beam.FlatMap(self.reader.plan)
        return pieces | "Spread" >> beam.Reshuffle() if self.spread else pieces


@dataclass(eq=False)
class ScanSales(beam.PTransform):
    """PCollection of ``Piece`` -> PCollection with the one ``Scanned`` of them all.

    Only the columns that ``questions`` need are read. ``threads`` (0: one a core) share the pieces
    of a bundle. ``run`` names the run whose progress is counted.
    """

    reader: LakeReader
    questions: Questions
    run: str
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[Scanned]:
        parts = pieces | "Scan" >> beam.ParDo(_ScanFn(self))
        # CombineGlobally is 14 transforms, for a handful of partial sums; and without any, as of an
        # empty lake, a group of them would give nothing, where an empty answer is due.
        return (
            pieces.pipeline
            | "Once" >> beam.Impulse()
            | "Merge" >> beam.Map(_merge, beam.pvalue.AsIter(parts), questions=self.questions)
        )


class _ScanFn(beam.DoFn):
    """Collects the pieces of a bundle, which are descriptions, and scans them when it ends."""

    def __init__(self, how: ScanSales) -> None:
        self._reader = how.reader
        self._questions = how.questions
        self._run = how.run
        self._threads = how.threads

    def start_bundle(self) -> None:
        self._pieces: list[Piece] = []

    def process(self, piece: Piece) -> None:
        self._pieces.append(piece)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        parts = share_out(self._pieces, self._scan, threads=self._threads)
        scanned = merge_scanned(parts, self._questions)
        metrics.ROWS_READ.inc(scanned.sums.whole.rows)
        yield in_global_window(scanned)

    def _scan(self, pieces: Iterator[Piece]) -> Scanned:
        scan = Scan(self._questions)
        progress = meter(self._run)
        for piece in pieces:
            first = piece.first_row
            for sales in self._reader.read(piece, self._questions.columns):
                scan.add(sales, piece.file.name, first)
                first += sales.num_rows
                progress.add(rows=sales.num_rows)
            progress.add(done=piece.bytes)
        return scan.result()


def _merge(_: bytes, parts: Iterable[Scanned], *, questions: Questions) -> Scanned:
    return merge_scanned(parts, questions)
