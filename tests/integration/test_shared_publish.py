"""A commit to a bucket whose moves are shared out: killed in the middle, refused, without rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from pipelines import batch, replay

PATIENCE = 90
REGIONS = 30
QUIET = ["-p", "region_de_venta", "--progress", "off"]
DIES = """
import itertools, os, signal, sys
from celes_beam.stores.lake.gcs_storage import GcsStorage
def dying(request, first, left):
    def die(self, name, *more):
        if name.startswith(first) and next(left) == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return request(self, name, *more)
    return die
request, first = sys.argv[1:3]
setattr(GcsStorage, request, dying(getattr(GcsStorage, request), first, itertools.count()))
from pipelines.batch import main
sys.exit(main(sys.argv[3:]))
"""
REFUSED = """
import sys
from celes_beam.errors import StorageError
from celes_beam.stores.lake.gcs_storage import GcsStorage
request, first = sys.argv.pop(1), sys.argv.pop(1)
def refuse(self, name, *more):
    if name.startswith(first):
        raise StorageError(f"the bucket refuses {name}")
    return real(self, name, *more)
real = getattr(GcsStorage, request)
setattr(GcsStorage, request, refuse)
from pipelines.batch import main
sys.exit(main())
"""
WHERE = {"moves": ("move", "_staging/"), "deletions": ("delete", "region_de_venta=")}


def sales_file(folder: Path) -> Path:
    path = folder / "a.csv"
    rows = [f"1,2024-05-01,1.25,Hogar,Region {n}" for n in range(REGIONS)]
    path.write_text("\n".join([",".join(COLUMN_NAMES), *rows, "not a sale"]) + "\n")
    return path


def killed(where: str, flags: list[str]) -> str:
    """Run a batch whose process, with the workers in it, dies in the middle of a step."""
    with subprocess.Popen(
        [sys.executable, "-c", DIES, *WHERE[where], *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
        start_new_session=True,
    ) as process:
        process.wait(PATIENCE)
        with suppress(ProcessLookupError):
            # A runner beside it outlives it.
            os.killpg(process.pid, signal.SIGKILL)
        said = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, said
    return said


@pytest.mark.parametrize(("where", "then"), [("moves", "read"), ("deletions", "again")])
def test_a_launcher_killed_in_the_middle(
    where: str, then: str, runner: list[str], bucket: Any, tmp_path: Path
) -> None:
    root = f"gs://{bucket.name}/lake"
    flags = ["-i", str(sales_file(tmp_path)), "-o", root, *QUIET]
    batch.run([*flags, "--run_id", "first"])
    again = [*flags, "--run_id", "second", "-f", *runner]
    killed(where, again)
    lake = Lake.open(root)
    assert lake.storage.exists("_commits/second.json")
    assert not lake.storage.exists("_commits/second.done")

    if then == "again":
        assert batch.run(again).to_dict()["status"] == "already_committed"
    else:
        assert lake.snapshot().rows == REGIONS

    found = verify(lake)
    assert (found.problems, found.notes, found.rows) == ((), (), REGIONS)
    _, second = lake.runs()
    assert {f.name for f in lake.storage.list(hidden=False)} == {f.path for f in second.files}
    assert lake.storage.exists("_commits/second.done")
    assert not list(lake.storage.list("_staging"))


@pytest.mark.parametrize("where", WHERE)
def test_what_a_step_meets_is_one_line_and_the_run_is_said_to_be_committed(
    where: str, runner: list[str], bucket: Any, tmp_path: Path
) -> None:
    root = f"gs://{bucket.name}/lake"
    flags = ["-i", str(sales_file(tmp_path)), "-o", root, *QUIET]
    batch.run([*flags, "--run_id", "first"])

    done = subprocess.run(
        [sys.executable, "-c", REFUSED, *WHERE[where], *flags, "--run_id", "second", "-f", *runner],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    warning, error = done.stderr.splitlines()
    assert done.returncode == 1
    assert "WARNING run second is committed all the same, and whoever looks at gs://" in warning
    assert warning.endswith(": run it again with --run_id second, or not at all")
    assert error.startswith(f"pipelines.batch: the bucket refuses {WHERE[where][1]}")
    assert Lake.open(root).snapshot().rows == REGIONS


def test_commits_of_no_rows_and_replays_are_shared_too(
    runner: list[str], bucket: Any, tmp_path: Path
) -> None:
    root = f"gs://{bucket.name}/lake"
    header = ",".join(COLUMN_NAMES)
    for name, rows in (("none", []), ("bad", ["not a sale", "1,2024-05-01,x,Hogar,Norte"])):
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join([header, *rows]) + "\n")
        flags = ["-i", str(path), "-o", root, "--if_exists", "append", *QUIET, *runner]
        batch.run([*flags, "--run_id", name])
    again = ["--from", root, "--run_id", "again", "--progress", "off", *runner]
    assert replay.run(again).to_dict()["rows_rejected_again"] == 2

    lake = Lake.open(root)
    assert [(m.run_id, len(m.all_files)) for m in lake.runs()] == [
        ("none", 0),
        ("bad", 1),
        ("again", 2),
    ]
    assert all(lake.storage.exists(f"_commits/{m.run_id}.done") for m in lake.runs())
    assert not list(lake.storage.list("_staging"))
    found = verify(lake)
    assert (found.problems, found.notes, found.rejected_rows) == ((), (), 4)
