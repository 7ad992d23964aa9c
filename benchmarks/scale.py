"""``python -m benchmarks.scale``: what rows cost, and what many of them would; see docs/scale.md.

Measures the stages of the work, whole runs up to 200 million rows against what the stages predict,
requests to the local servers, and a stream. ``--write`` keeps that in ``scale_measured.json`` and
puts the tables into the page; parts left out by ``--only`` stay as they were measured last.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from rich.console import Console

from benchmarks.measure import run_once, run_process
from benchmarks.report import machine
from benchmarks.scale_flink import flink_runs
from benchmarks.scale_limits import read_limits
from benchmarks.scale_measured import (
    AGGREGATE,
    CSV,
    FLUSH,
    GENERATE,
    MESSAGES,
    NATIVE,
    Graph,
    Measured,
    Requests,
    Stages,
    Stream,
    read_measured,
    write_measured,
)
from benchmarks.scale_report import goals, put, tables
from benchmarks.scale_runs import FEW, grown
from benchmarks.scale_stream import APPEND, PULL, STREAM_WAYS
from benchmarks.section import Say
from celes_beam.errors import MissingProgramError
from celes_beam.plan.prices import read_prices

Found = TypeVar("Found")

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
SIZES = (FEW, 1_000_000, 10_000_000, 50_000_000, 200_000_000)
FLINK_SIZES = (50_000_000, 200_000_000)
STAGE_ROWS = 4_000_000
STAGE_MESSAGES = 100_000
STREAM_MESSAGES = 100_000
FEW_MESSAGES = 5_000
AGGREGATE_ROWS = 16_000_000
REQUEST_ROWS = 2_000_000
LAYOUTS = ("region_de_venta", "categoria_de_producto,region_de_venta")
"""Of few and of many files."""
BUCKET = "celes-scale"


@dataclass(frozen=True)
class Asked:
    """How much to measure: rounds of each run, and a share of all sizes; lakes below ``folder``."""

    runs: int
    share: float
    folder: Path

    def of(self, size: int) -> int:
        """So much of a size."""
        return max(FEW, round(size * self.share))


def measure_stages(before: Measured, asked: Asked, say: Say) -> Measured:
    """The cost of each stage."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="celes-scale-", dir=asked.folder) as name:
        folder = Path(name)
        lake = folder / "lake"
        rows, messages = asked.of(STAGE_ROWS), asked.of(STAGE_MESSAGES)
        read = asked.of(AGGREGATE_ROWS)
        making = ["-m", "pipelines.batch", "--rows", str(read), "--output", str(lake)]
        run_process([sys.executable, *making, "--progress", "off"])
        for way, count, place in (
            (GENERATE, rows, folder),
            (CSV, rows, folder),
            (AGGREGATE, read, lake),
            (MESSAGES, messages, folder),
            (NATIVE, messages, folder),
            (FLUSH, messages, folder),
        ):
            os.sync()
            found[way] = _child("scale_stages", Stages, way, count, place)
            say(f"{way}: {found[way].cpu_per_row() * 1e9:,.0f} ns of a core, a row")
        of_id = _child("scale_stages", float, "id", asked.of(500_000), folder)
    return msgspec.structs.replace(before, stages=found, bytes_of_an_id=of_id)


def measure_runs(before: Measured, asked: Asked, say: Say) -> Measured:
    """Whole runs as rows grow."""
    sizes = sorted({FEW, *(asked.of(size) for size in SIZES if size > FEW)})
    return msgspec.structs.replace(before, runs=tuple(grown(sizes, asked.runs, asked.folder, say)))


def measure_requests(before: Measured, asked: Asked, say: Say) -> Measured:
    """Requests to local servers, by runs with few and with many files; and a job's graph."""
    from benchmarks.servers import local_servers  # noqa: PLC0415
    from celes_beam.local.servers import start_bigquery, start_storage  # noqa: PLC0415
    from celes_beam.stores.cloud.clients import storage_client  # noqa: PLC0415

    found = []
    with (
        tempfile.TemporaryDirectory(prefix="celes-scale-", dir=asked.folder) as name,
        local_servers(Path(name), start_storage, start_bigquery),
    ):
        storage_client().create_bucket(BUCKET)
        for number, layout in enumerate(LAYOUTS):
            lake = f"gs://{BUCKET}/lake-{number}"
            rows = asked.of(REQUEST_ROWS)
            found.append(_child("scale_services", Requests, "batch", rows, lake, layout))
            say(f"{found[-1].files:,} files: {sum(found[-1].requests.values()):,} requests")
    graph = _child("scale_services", Graph, "graph")
    say(f"graph: {graph.a_shard:,.0f} bytes a shard, {graph.a_file:,.0f} a file")
    return msgspec.structs.replace(before, requests=tuple(found), graph=graph)


def measure_stream(before: Measured, asked: Asked, say: Say) -> Measured:
    """A stream against local servers, and what these give alone."""
    from benchmarks.servers import Renewed, local_servers  # noqa: PLC0415
    from benchmarks.streaming import contestants  # noqa: PLC0415
    from celes_beam.local.servers import start_bigquery, start_pubsub  # noqa: PLC0415

    found: dict[int, dict[str, float]] = {}
    whole, few = asked.of(STREAM_MESSAGES), asked.of(FEW_MESSAGES)
    with (
        tempfile.TemporaryDirectory(prefix="celes-scale-", dir=asked.folder) as name,
        local_servers(Path(name), start_bigquery),
        Renewed(Path(name), start_pubsub) as pubsub,
    ):
        for messages, ways in ((few, STREAM_WAYS), (whole, (PULL, APPEND, *STREAM_WAYS))):
            found[messages] = {
                way.name: run_once(way).seconds
                for way in contestants(messages, pubsub)
                if way.name in ways
            }
            for way_name, seconds in found[messages].items():
                say(f"{way_name}, {messages:,} messages: {messages / seconds:,.0f} messages/s")
    stream = Stream(whole, found[whole], few, found[few])
    return msgspec.structs.replace(before, stream=stream)


def measure_flink(before: Measured, asked: Asked, say: Say) -> Measured:
    """Runs on a Flink cluster of this machine."""
    sizes = [asked.of(size) for size in FLINK_SIZES]
    return msgspec.structs.replace(before, flink=tuple(flink_runs(sizes, asked.folder, say)))


PARTS: dict[str, Callable[[Measured, Asked, Say], Measured]] = {
    "stages": measure_stages,
    "runs": measure_runs,
    "requests": measure_requests,
    "stream": measure_stream,
    "flink": measure_flink,
}
APART = ("flink",)
"""Needs what ``make flink`` fetches, and minutes: measured when it is asked for."""


def _child(module: str, kind: type[Found], *given: object) -> Found:
    """What a measurement in a process of its own prints, on its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, given)]
    return msgspec.json.decode(run_process(command)[2].splitlines()[-1], type=kind)


def main() -> None:
    """Measure what the command line asks for, forecast, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--only",
        choices=PARTS,
        action="append",
        help=f"measure this part; may be given again (default: all but {', '.join(APART)})",
    )
    parser.add_argument("--none", action="store_true", help="measure nothing: make the tables anew")
    parser.add_argument("--runs", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of all sizes, for a try (default: %(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="for the lakes (default: a temporary one)")
    parser.add_argument("--write", action="store_true", help="keep it, and write docs/scale.md")
    flags = parser.parse_args()
    if flags.write and flags.share != 1:
        parser.error("--write is for whole sizes: leave out --share")
    console = Console(width=160)
    parts = [] if flags.none else flags.only or [part for part in PARTS if part not in APART]
    asked = Asked(flags.runs, flags.share, flags.folder or Path(tempfile.gettempdir()))
    measured = read_measured()
    if parts:
        about = machine()
        console.print(about)
        measured = msgspec.structs.replace(measured, about=about, cores=os.cpu_count() or 1)
    # The servers of a part that is cut short are to end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    for part in parts:
        before = os.getloadavg()[0]
        try:
            measured = PARTS[part](measured, asked, lambda text: console.print(text, markup=False))
        except MissingProgramError as error:
            console.print(f"{part} is left as it was: {error}", markup=False)
            continue
        loads = measured.loads | {part: (before, os.getloadavg()[0])}
        measured = msgspec.structs.replace(measured, loads=loads)
        if flags.write:
            write_measured(measured)
    found = tables(measured, read_prices(None), read_limits())
    for name, content in found.items():
        console.print(f"\n{name}\n{content}", markup=False, highlight=False, soft_wrap=True)
    if flags.write:
        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
        console.print(f"written: {PAGE}")
    missed = [goal for goal in goals(measured) if not goal.reached]
    if missed and flags.share == 1:
        sys.exit("; ".join(f"not reached: {goal.text}: {goal.measured}" for goal in missed))


if __name__ == "__main__":
    main()
