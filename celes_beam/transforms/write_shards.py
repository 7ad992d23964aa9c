"""Write the shards of a generated data set: only their descriptions cross an edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.utils.windowed_value import WindowedValue

from celes_beam.commands.progress import meter
from celes_beam.config import Config
from celes_beam.sales.generate import Generator
from celes_beam.stores.datasets.dataset import Format, Shard, ShardWritten, write_shard
from celes_beam.stores.datasets.dataset_target import write_report
from celes_beam.stores.share_out import share_out
from celes_beam.transforms.pool import check_threads, in_global_window


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """PCollection of ``Shard`` -> PCollection of ``ShardWritten``, one each.

    ``error_rate`` (0 to 1) is the share of rows that are broken. ``threads`` (0: one a core) share
    the shards of a bundle: Arrow and numpy release the GIL.
    """

    config: Config
    format: Format
    error_rate: float
    run_id: str
    threads: int = 0

    def __post_init__(self) -> None:
        check_threads(self.threads)

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[ShardWritten]:
        return shards | beam.ParDo(_WriteShardsFn(self))


class _WriteShardsFn(beam.DoFn):
    """Collects the shards of a bundle (descriptions of a few bytes) and writes them at its end."""

    def __init__(self, how: WriteShards) -> None:
        self._config = how.config
        self._format = how.format
        self._error_rate = how.error_rate
        self._run_id = how.run_id
        self._threads = how.threads

    def setup(self) -> None:
        self._generator = Generator(self._config)

    def start_bundle(self) -> None:
        self._shards: list[Shard] = []

    def process(self, shard: Shard) -> None:
        self._shards.append(shard)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for written in share_out(self._shards, self._write_all, threads=self._threads):
            yield from map(in_global_window, written)

    def _write_all(self, shards: Iterator[Shard]) -> list[ShardWritten]:
        return [self._write(shard) for shard in shards]

    def _write(self, shard: Shard) -> ShardWritten:
        progress = meter(self._run_id)
        return write_shard(
            self._generator,
            shard,
            self._format,
            self._error_rate,
            on_rows=lambda rows: progress.add(rows=rows, done=rows),
        )


@dataclass(eq=False)
class ReportShards(beam.PTransform):
    """PCollection of ``ShardWritten`` -> a report of them all in a work folder."""

    folder: str

    def expand(self, written: beam.PCollection[ShardWritten]) -> beam.PCollection[None]:
        return (
            written
            | "Gather" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Report" >> beam.Map(_report, folder=self.folder)
        )


def _report(written: Sequence[ShardWritten], folder: str) -> None:
    write_report(folder, written)
