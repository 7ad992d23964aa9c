"""``python -m benchmarks.ledger_child WAY LAKE [RUN]``: one look, its seconds as a JSON line."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from benchmarks.ledger import COMMITS, decisions, input_of
from celes_beam.stores.lake.commit import CommitLog
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import DataFile, Manifest

_LOOKED_UP = 1000


def make(root: Path, commits: int = COMMITS) -> None:
    """Write the decisions of a lake, with their marks and claims."""
    folder = root / "_commits"
    folder.mkdir(parents=True)
    for number, (run_id, data) in enumerate(decisions(commits), 1):
        (folder / f"{run_id}.json").write_bytes(data)
        (folder / f"{run_id}.done").write_bytes(b"{}")
        (folder / f"inputs-{number:08d}.claim").write_text(run_id)


def first_index(root: Path) -> None:
    """Write the first index."""
    log = CommitLog(Lake.open(str(root)).storage)
    log.load()
    log.keep_index()


def unread(root: Path) -> None:
    """Look up inputs: half of them are new."""
    wanted = [input_of(COMMITS - _LOOKED_UP // 2 + n) for n in range(_LOOKED_UP)]
    found = Lake.open(str(root)).unread(wanted)
    if len(found) < _LOOKED_UP // 2:
        raise ValueError(f"{len(found)} of {len(wanted)} are unread")


def every(root: Path) -> None:
    """The same by every decision."""
    log = CommitLog(Lake.open(str(root)).storage)
    log.load_all().unread_and_changed([input_of(n) for n in range(_LOOKED_UP)])


def prepare(root: Path) -> None:
    """Make ready for an append."""
    lake = Lake.open(str(root))
    lake.prepare(run_id="x", if_exists="append", partition_by=("region_de_venta",))


def history(root: Path) -> None:
    """All commits in order."""
    if len(Lake.open(str(root)).runs()) < COMMITS:
        raise ValueError("commits are missing")


def commit(lake: Lake, draft: Manifest) -> None:
    """Commit what was staged."""
    lake.commit(draft)


def stage(lake: Lake, run_id: str) -> Manifest:
    """Stage a file for ``commit``."""
    staging = lake.staging(run_id)
    name = f"{staging.rpartition('/')[2]}.parquet"
    lake.storage.staging_area(staging).path(name).write_bytes(b"row")
    file = DataFile(
        path=f"region_de_venta=Sur/{name}",
        staged=name,
        partition={"region_de_venta": "Sur"},
        rows=1,
        bytes=3,
        crc32c="",
        total="1.00",
    )
    return Manifest(
        run_id=run_id,
        kind="append",
        started_at="2024-05-03T00:00:00+00:00",
        staging=staging,
        partition_by=("region_de_venta",),
        inputs=(input_of(int(run_id.encode().hex()[-8:], 16) + COMMITS),),
        files=(file,),
        rows_read=1,
        rows_accepted=1,
        total="1.00",
    )


LOOKS = {
    "make": make,
    "first-index": first_index,
    "unread": unread,
    "every": every,
    "prepare": prepare,
    "history": history,
}


def main(way: str, root: str, run: str = "run") -> None:
    """Look once, and tell how long it took."""
    if way == "commit":
        lake = Lake.open(root)
        draft = stage(lake, run)
        started = time.perf_counter()
        commit(lake, draft)
    else:
        started = time.perf_counter()
        LOOKS[way](Path(root))
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main(*sys.argv[1:])
