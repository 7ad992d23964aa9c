"""Reading from a bucket through a proxy: it ends right, or in one clear line, and soon.

Readers are processes of their own, for pyarrow's client and the proxy would share one lock.
"""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celes_beam.local.processes import Server
from celes_beam.stores.lake.lake import Lake
from pipelines import batch, generate
from tests.faults import FaultProxy, When, always, nth

ROWS = 3000
QUIET = ["--progress", "off"]
CONTENT = {"method": "GET", "path": "alt=media"}
READER = """
import sys
from datetime import timedelta
import celes_beam.stores.cloud.clients as clients
clients._RETRY_LIMIT = timedelta(seconds=float(sys.argv.pop(1)))
from pipelines import aggregate, batch
sys.exit({"aggregate": aggregate, "batch": batch}[sys.argv[1]].main(sys.argv[2:]))
"""
ONCE: list[Any] = [
    ("drop", {}),
    ("cut", {}),
    ("answer", {"status": 503}),
    *(
        pytest.param(*fault, marks=pytest.mark.slow)
        for fault in (("reset", {}), ("answer", {"status": 429}))
    ),
]


def later(number: int) -> bool:
    """All but the first requests, with which pyarrow opens a file."""
    return number > 3


@pytest.fixture
def proxy(storage_server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(storage_server.address) as proxy:
        yield proxy


@pytest.fixture
def place(bucket: Any) -> str:
    place = f"gs://{bucket.name}"
    for name in ("v.csv", "v.parquet"):
        generate.run(["-o", f"{place}/{name}", "--rows", str(ROWS), *QUIET])
    plain = bucket.blob("v.csv").download_as_bytes()
    bucket.blob("v.csv.gz").upload_from_string(gzip.compress(plain))
    return place


def read(proxy: FaultProxy, *arguments: str, patience: float = 30) -> tuple[int, str]:
    """Read by a process that tries for so many seconds; its exit code, and what it says."""
    ended = subprocess.run(
        [sys.executable, "-c", READER, str(patience), *arguments, *QUIET],
        env=os.environ | {"STORAGE_EMULATOR_HOST": proxy.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr.strip()


@pytest.mark.parametrize(("how", "about"), ONCE)
def test_what_passes_is_borne(
    proxy: FaultProxy, place: str, tmp_path: Path, how: Any, about: dict[str, int]
) -> None:
    fault = proxy.add(how, nth(2, 5), **CONTENT, **about)
    files = [flag for name in ("v.csv", "v.parquet") for flag in ("-i", f"{place}/{name}")]
    assert read(proxy, "batch", *files, "-o", str(tmp_path / "lake")) == (0, "")
    assert fault.happened == 2
    assert Lake.open(str(tmp_path / "lake")).snapshot().rows == 2 * ROWS


@pytest.mark.parametrize(
    ("name", "when"),
    [("v.csv", later), ("v.parquet", always), ("v.parquet", later), ("v.csv.gz", always)],
)
def test_a_file_that_cannot_be_read_now_is_neither_damaged_nor_set_aside(
    proxy: FaultProxy, place: str, tmp_path: Path, name: str, when: When
) -> None:
    lake = tmp_path / "lake"
    run = ["-i", f"{place}/{name}", "-o", str(lake), "--if_exists", "append"]
    proxy.add("answer", when, status=503, **CONTENT)
    code, said = read(proxy, "batch", *run, "--bad_files", "set_aside", patience=0.5)
    assert code == 1
    assert f"{place}/{name}: reading failed: " in said
    assert "run it again" in said
    assert "\n" not in said
    proxy.clear()
    assert batch.run([*run, *QUIET]).manifest.rows_read == ROWS


def test_an_object_that_is_gone_or_closed_is_left_for_the_next_run(
    proxy: FaultProxy, place: str, tmp_path: Path
) -> None:
    for status, why in ((404, "gone since it was listed"), (403, "grant roles/storage.object")):
        proxy.clear()
        proxy.add("answer", always, method="GET", path=r"/o/v\.csv$", status=status)
        run = ["-i", f"{place}/v.csv", "-o", str(tmp_path / "lake")]
        code, said = read(proxy, "batch", *run)
        assert code == 2
        assert f"v.csv: {'' if status == 404 else 'no permission to read it: '}{why}" in said


@pytest.mark.parametrize(
    ("how", "about"), [pytest.param(*ONCE[0], marks=pytest.mark.slow), ONCE[1]]
)
def test_a_lake_that_cannot_be_read_now_is_not_damaged(
    proxy: FaultProxy, bucket: Any, tmp_path: Path, how: Any, about: dict[str, int]
) -> None:
    lake = f"gs://{bucket.name}/lake"
    batch.run(["--rows", str(ROWS), "-o", lake, *QUIET])
    parts = {"method": "GET", "path": r"\.parquet.*alt=media"}
    proxy.add(how, nth(1, 3), **parts, **about)
    aggregation = ["aggregate", "-i", lake, "-o", str(tmp_path / "result")]
    assert read(proxy, *aggregation) == (0, "")
    proxy.clear()
    proxy.add(how, lambda n: n > 2, **parts, **about)
    code, said = read(proxy, *aggregation, "-f", patience=0.5)
    assert code == 1
    assert "reading failed: " in said
    assert "\n" not in said
