"""Aggregate a lake: pieces of files in, exact sums (and first rows, and a sample of keys) out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.commands.progress import meter
from celes_beam.sales.scan import Questions, Scan, Scanned, merge_scanned
from celes_beam.stores.lake.lake_reader import LakeFile, LakeReader, Piece
from celes_beam.stores.lake.storage import open_storage
from celes_beam.stores.share_out import share_out
from celes_beam.transforms import metrics
from celes_beam.transforms.pool import check_threads, in_global_window


@dataclass(eq=False)
class PlanPieces(beam.PTransform):
    """A pipeline -> PCollection of ``Piece``, of the files of a reader.

    ``spread`` shares files and pieces out to several workers. For one alone that is work for
    nothing: each transform that Beam takes apart costs it some 10 ms.
    """

    reader: LakeReader
    files: Sequence[LakeFile]
    spread: bool = True

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[Piece]:
        if not self.spread:
            return (
                pipeline | beam.Impulse() | "Plan" >> beam.FlatMap(_plan, self.reader, self.files)
            )
        return (
            pipeline
            | "Files" >> beam.Create(self.files, reshuffle=False)
            # Each is opened to be planned, and in a bucket that takes a while.
            | "Spread files" >> beam.Reshuffle()
            | "Plan" >> beam.FlatMap(self.reader.plan)
            | "Spread" >> beam.Reshuffle()
        )


def _plan(_: bytes, reader: LakeReader, files: Sequence[LakeFile]) -> list[Piece]:
    with ThreadPoolExecutor(open_storage(reader.root).at_once) as pool:
        return [piece for pieces in pool.map(reader.plan, files) for piece in pieces]


@dataclass(eq=False)
class ScanSales(beam.PTransform):
    """PCollection of ``Piece`` -> PCollection of ``Scanned``, what bundles of them held.

    Only the columns that ``questions`` need are read. ``threads`` (0: one a core) share the pieces
    of a bundle. ``run`` names the run whose progress is counted. Whoever needs the whole takes them
    all as a side input, by ``merge_scanned``: of no pieces there may be none.
    """

    reader: LakeReader
    questions: Questions
    run: str
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def expand(self, pieces: beam.PCollection[Piece]) -> beam.PCollection[Scanned]:
        return pieces | "Scan" >> beam.ParDo(_ScanFn(self))


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
