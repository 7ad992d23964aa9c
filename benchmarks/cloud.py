"""Rows generated into a bucket and loaded into BigQuery, both on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import Contestant, measure
from benchmarks.section import Goal, Say, Section
from benchmarks.servers import local_servers

BUCKET = "celes-bench"
LARGER = 5
MAX_GROWTH = 0.25


def cloud(rows: int, rounds: int, say: Say) -> Section:
    """Our own time and peak memory, with the rows asked for and with five times as many."""
    with tempfile.TemporaryDirectory(prefix="celes-bench-") as name, _servers(Path(name)):
        runs = [
            measure(
                [
                    Contestant(
                        f"pipelines.batch, {n:,} rows",
                        _batch(n),
                        "to `gs://`, then by load jobs from the files committed.",
                    )
                ],
                rounds,
                say,
            )[0]
            for n in (rows, LARGER * rows)
        ]
    growth = runs[1].peak_mb / runs[0].peak_mb - 1
    goal = Goal(
        f"peak memory with {LARGER * rows:,} rows within {MAX_GROWTH:.0%} of that with {rows:,}",
        f"{growth:+.1%}",
        growth <= MAX_GROWTH,
    )
    title = "Rows into a local Cloud Storage and BigQuery, whole commands"
    return Section(title, runs, [goal], whole=True)


def _batch(rows: int) -> Callable[[Path], list[str]]:
    def command(folder: Path) -> list[str]:
        to = ["--output", f"gs://{BUCKET}/{folder.name}"]
        to += ["--bigquery_table", f"celes-dev:bench.{folder.name.replace('-', '_')}"]
        return ["-m", "pipelines.batch", "--rows", str(rows), *to, "--progress", "off"]

    return command


@contextmanager
def _servers(folder: Path) -> Iterator[None]:
    from celes_beam.local.servers import start_bigquery, start_storage  # noqa: PLC0415
    from celes_beam.stores.cloud.clients import storage_client  # noqa: PLC0415

    with local_servers(folder, start_storage, start_bigquery):
        storage_client().create_bucket(BUCKET)
        yield
