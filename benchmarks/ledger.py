"""What a lake of many commits costs whoever looks: the ledger, a commit, and all that was decided.

The lake is made up: decisions as a stream into six regions leaves them, merged now and then, and
nothing else. The first look reads every one, as one does without an index; the others go by it.
"""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Contestant, Runs, measure, run_process
from benchmarks.section import Goal, Say, Section

if TYPE_CHECKING:
    from celes_beam.stores.lake.manifest import InputRecord

COMMITS = 100_000
REGIONS = ("Caribe", "Centro", "Este", "Norte", "Oeste", "Sur")
MERGED_EVERY = 100
MOST_SECONDS = 1.0


def ledger(rows: int, rounds: int, say: Say) -> Section:
    """Looks at a lake of 100,000 commits; ``rows`` is not used."""
    del rows
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name:
        root = Path(name) / "lake"
        run_process([sys.executable, "-m", "benchmarks.ledger_child", "make", str(root)])
        say(f"made {COMMITS:,} commits")
        _, peak, told = run_process(
            [sys.executable, "-m", "benchmarks.ledger_child", "first-index", str(root)]
        )
        say(f"first index: {told.strip()}, peak {peak:,.0f} MB")
        runs = measure(
            [
                _way("unread", root, "1,000 inputs are looked up in the ledger."),
                _way("prepare", root, "`Lake.prepare` of an append."),
                _way("commit", root, "`Lake.commit` of a file of an input that is new."),
                _way("history", root, "every commit, as `celes-beam lake history` needs them."),
                _way("every", root, "the ledger by reading every decision."),
            ],
            rounds,
            say,
        )
    return Section(
        f"Looks at a lake of {COMMITS:,} commits on a local disk, each by a new process",
        runs,
        [_within(of) for of in runs[:3]],
        table=_table(runs),
    )


def _way(name: str, root: Path, does: str) -> Contestant:
    return Contestant(
        name,
        lambda folder: ["-m", "benchmarks.ledger_child", name, str(root), folder.name],
        does,
    )


def _within(of: Runs) -> Goal:
    seconds = of.median(lambda run: run.seconds)
    return Goal(
        f"{of.contestant.name} in less than {MOST_SECONDS:.0f} s",
        f"{seconds:.2f} s",
        seconds < MOST_SECONDS,
    )


def _table(runs: list[Runs]) -> list[list[str]]:
    rows = [["Look", "seconds", "process s", "peak MB"]]
    for of in runs:
        seconds = of.median(lambda run: run.seconds)
        process = of.median(lambda run: run.process_seconds)
        rows.append([of.contestant.name, f"{seconds:.2f}", f"{process:.2f}", f"{of.peak_mb:,.0f}"])
    return rows


def decisions(commits: int) -> Iterator[tuple[str, bytes]]:
    """Run ids and decisions of a lake that takes in a file a commit, and merges now and then."""
    import msgspec  # noqa: PLC0415 - whoever measures others must stay small

    from celes_beam.stores.lake.manifest import (  # noqa: PLC0415
        CategoryTotal,
        DataFile,
        Manifest,
        RegionMean,
        encode,
    )

    def file(region: str) -> DataFile:
        name = f"region_de_venta={region}/part-{uuid.uuid4().hex}.parquet"
        return DataFile(
            path=name,
            staged=f"{name}.staged",
            partition={"region_de_venta": region},
            rows=1000,
            bytes=20_000,
            crc32c="yZRlqg==",
            total="123456.78",
            min_date="2024-01-01T00:00:00+00:00",
            max_date="2024-01-31T23:59:59+00:00",
        )

    by_category = tuple(
        CategoryTotal(categoria_de_producto=f"categoria-{n}", rows=750, total="92592.59")
        for n in range(8)
    )
    by_region = tuple(
        RegionMean(region_de_venta=r, rows=1000, total="123456.78", mean="123.46") for r in REGIONS
    )
    draft = Manifest(
        run_id="r",
        kind="append",
        started_at="2024-05-03T00:00:00+00:00",
        staging="_staging/r/a",
        partition_by=("region_de_venta",),
        rows_read=6000,
        rows_accepted=6000,
        by_category=by_category,
        by_region=by_region,
        total="740740.68",
    )
    live: list[str] = []
    epoch = 0
    for number in range(commits):
        run_id = f"carga-{number:06d}"
        files = tuple(map(file, REGIONS))
        decided = f"2024-05-{3 + number // 86400:02d}T{number // 3600 % 24:02d}:"
        decided += f"{number // 60 % 60:02d}:{number % 60:02d}.000000+00:00"
        merges = number % MERGED_EVERY == MERGED_EVERY - 1
        retired = tuple(live) if merges else ()
        if merges:
            epoch, live = epoch + 1, []
        live += [f.path for f in files]
        yield (
            run_id,
            encode(
                msgspec.structs.replace(
                    draft,
                    run_id=run_id,
                    kind="compact" if merges else "append",
                    decided_at=decided,
                    epoch=epoch,
                    inputs=() if merges else (input_of(number),),
                    files=files,
                    retired=retired,
                )
            ),
        )


def input_of(number: int) -> InputRecord:
    """The input of a commit."""
    from celes_beam.stores.lake.manifest import InputRecord  # noqa: PLC0415

    return InputRecord(
        path=f"gs://aterrizaje/ventas/2024/05/ventas-{number:06d}.csv.gz",
        size=123_456 + number,
        version=f"{1_700_000_000_000_000 + number}",
        rows_read=6000,
        rows_accepted=6000,
    )
