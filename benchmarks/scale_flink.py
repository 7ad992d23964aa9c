"""Whole runs on a Flink cluster of this machine, on one, two and four of its slots."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.scale_measured import GENERATE, Run
from benchmarks.scale_runs import FEW, run_of, timed
from benchmarks.section import Say

SLOTS = (1, 2, 4)
ENVIRONMENT = "PROCESS"
"""Workers are processes that the task managers start, as they are on a cluster elsewhere."""
_ROUNDS_OF_FEW = 3
"""What a job takes in any case differs by seconds."""


def flink_runs(sizes: Sequence[int], folder: Path, say: Say) -> list[Run]:
    """Generate lakes of these sizes, and one of few rows, on each number of slots.

    The first job of a cluster warms it up, and is not counted.
    """
    runs = []
    with (
        tempfile.TemporaryDirectory(prefix="celes-scale-", dir=folder) as name,
        cluster(Path(name)) as flags,
    ):
        _generate(FEW, flags, max(SLOTS), Path(name))
        for slots in SLOTS:
            for rows in (FEW, *sizes):
                runs.append(_generate(rows, flags, slots, Path(name)))
                say(f"Flink, {slots} slots, {rows:,} rows: {runs[-1].middle:.1f} s")
    return runs


def _generate(rows: int, flags: Sequence[str], slots: int, folder: Path) -> Run:
    lake, said = folder / "lake", folder / "summary.json"
    writing = ["-m", "pipelines.batch", "--rows", str(rows), "--output", str(lake)]
    told = ["--summary_json", str(said), "--progress", "off"]
    place = ["--parallelism", str(slots), "--environment_type", ENVIRONMENT]
    taken = []
    for _ in range(_ROUNDS_OF_FEW if rows == FEW else 1):
        shutil.rmtree(lake, ignore_errors=True)
        taken.append(timed([*writing, *told, *flags, *place], said))
    return run_of(GENERATE, slots, taken, said)


@contextmanager
def cluster(folder: Path) -> Iterator[list[str]]:
    """Run a cluster of two task managers while the body runs; gives the flags that go to it."""
    from celes_beam.local.flink import FLAGS, FLINK_PORTS  # noqa: PLC0415
    from celes_beam.local.services import start_service  # noqa: PLC0415

    with ExitStack() as stack:
        running: dict[str, dict[str, int]] = {}
        environment: dict[str, str] = {}
        for name, ports in FLINK_PORTS.items():
            free = dict.fromkeys(ports, 0)
            server = start_service(name, folder, free, running, lambda _: None)
            stack.callback(server.stop)
            running[name] = dict(server.ports)
            environment.update(server.environment)
        yield environment[FLAGS].split()
