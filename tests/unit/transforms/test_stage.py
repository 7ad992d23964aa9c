from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from celes_beam.commands.progress import meter
from celes_beam.errors import ConfigError, InputError
from celes_beam.sales.outcomes import all_accepted
from celes_beam.sales.rejected import Checked
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.staging import Staged
from celes_beam.stores.lake.staging_area import LocalStagingArea
from celes_beam.transforms.stage import StageSales, _StageFn
from tests.sales import sales_batch


@dataclass(frozen=True)
class Numbered:
    """A source whose shard n holds n rows; shard ``broken`` cannot be read."""

    broken: int | None = None
    sets_aside: bool = False

    def read(self, shard: int) -> Iterator[Checked]:
        if shard == self.broken:
            raise InputError(f"shard {shard} is broken")
        yield all_accepted(sales_batch([("Hogar", "Norte", 100)] * shard))

    def pieces(self, shard: int) -> list[int]:
        return [shard]

    def progress_of(self, shard: int) -> int:
        return 1

    def source_of(self, shard: int) -> str:
        return "even.csv" if shard % 2 == 0 else "odd.csv"


def stage(folder: Path, source: Numbered, shards: range, *, threads: int, run_id: str) -> Staged:
    fn = _StageFn(source, LocalStagingArea(str(folder)), Layout(), run_id, threads)
    fn.start_bundle()
    for shard in shards:
        fn.process(shard)
    (value,) = fn.finish_bundle()
    staged: Staged = value.value
    return staged


@pytest.mark.parametrize("threads", [0, 1, 2, 5])
def test_threads_share_the_shards_of_a_bundle(tmp_path: Path, threads: int) -> None:
    staged = stage(tmp_path, Numbered(), range(20), threads=threads, run_id=f"t{threads}")

    staged.reconcile()
    assert staged.rows_read == sum(range(20))
    assert staged.by_source == {
        "even.csv": (sum(range(0, 20, 2)),) * 2,
        "odd.csv": (sum(range(1, 20, 2)),) * 2,
    }
    assert len(staged.files) <= (threads or os.cpu_count() or 1)
    assert meter(f"t{threads}").rows == sum(range(20))
    assert meter(f"t{threads}").done == 20


def test_a_bundle_without_shards_stages_nothing(tmp_path: Path) -> None:
    assert stage(tmp_path, Numbered(), range(0), threads=2, run_id="none") == Staged()


@pytest.mark.parametrize("threads", [1, 3])
def test_a_broken_shard_stops_all_threads(tmp_path: Path, threads: int) -> None:
    before = threading.active_count()

    with pytest.raises(InputError, match="shard 7 is broken"):
        stage(tmp_path, Numbered(broken=7), range(1000), threads=threads, run_id="broken")

    assert threading.active_count() == before


def test_arguments_are_checked_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match="threads=-1"):
        StageSales(Numbered(), LocalStagingArea("folder"), Layout(), "run", threads=-1)
