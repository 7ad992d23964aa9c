"""Read shards, check their rows, and stage them in the lake: one fused step, no row leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.commands.progress import meter
from celes_beam.errors import InputChangedError, InputError
from celes_beam.stores.inputs.sources import Source
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import Staged, StagingWriter, Trouble, merge_staged
from celes_beam.stores.lake.staging_area import StagingArea
from celes_beam.stores.share_out import share_out
from celes_beam.transforms import metrics
from celes_beam.transforms.pool import check_threads, in_global_window


@dataclass(eq=False)
class StageSales(beam.PTransform):
    """PCollection of shards -> PCollection of ``Staged``, the descriptions of what they became.

    ``area`` takes the files of this attempt. ``threads`` share the shards of a bundle: Arrow
    and numpy release the GIL, which beats more worker processes below some 50 million rows.
    """

    source: Source[Any]
    area: StagingArea
    layout: Layout
    run_id: str
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def expand(self, shards: beam.PCollection[Any]) -> beam.PCollection[Staged]:
        return shards | beam.ParDo(
            _StageFn(self.source, self.area, self.layout, self.run_id, self.threads)
        )


class _StageFn(beam.DoFn):
    """Collects the shards of a bundle, and works on them when it ends.

    Shards are descriptions of a few bytes, so holding them costs nothing, and every file and
    partial sum then spans as many shards as the bundle has.
    """

    def __init__(
        self, source: Source[Any], area: StagingArea, layout: Layout, run_id: str, threads: int
    ) -> None:
        self._source = source
        self._area = area
        self._layout = layout
        self._run_id = run_id
        self._threads = threads

    def start_bundle(self) -> None:
        self._shards: list[Any] = []

    def process(self, shard: Any) -> None:
        self._shards.append(shard)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        pieces = [piece for shard in self._shards for piece in self._source.pieces(shard)]
        staged = merge_staged(share_out(pieces, self._work, threads=self._threads))
        metrics.ROWS_READ.inc(staged.rows_read)
        metrics.ROWS_ACCEPTED.inc(staged.rows_accepted)
        metrics.ROWS_REJECTED.inc(staged.rejections.rows)
        metrics.FILES_STAGED.inc(len(staged.files))
        metrics.BYTES_STAGED.inc(sum(f.bytes for f in staged.files))
        yield in_global_window(staged)

    def _work(self, shards: Iterator[Any]) -> Staged:
        writer = StagingWriter(self._area, self._layout)
        progress = meter(self._run_id)
        try:
            for shard in shards:
                source = self._source.source_of(shard)
                try:
                    for checked in self._source.read(shard):
                        writer.write(checked, source)
                        progress.add(rows=checked.rows)
                except InputError as error:
                    if source is None or not self._source.sets_aside:
                        raise
                    is_changed = isinstance(error, InputChangedError)
                    writer.note(Trouble(source, str(error), is_changed))
                progress.add(done=self._source.progress_of(shard))
            return writer.close()
        except BaseException:
            writer.abandon()
            raise
