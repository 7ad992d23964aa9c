"""Runs whose lake is a bucket, through a proxy: the run ends right, or the same run id does later.

Right is: every row once, exact sums, one commit, no file that no commit names.
"""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celes_beam.errors import CelesError
from celes_beam.stores.cloud.clients import storage_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from tests.faults import FaultProxy, at_random, nth, until_done

ROWS = 20_000
TRIES = 6
DECISION = {"method": "POST", "path": "^/upload/.*"}
MOVES = {"method": "POST", "path": "(rewriteTo|copyTo|compose)"}
LISTS = {"method": "GET", "path": "/o[?]"}
DELETES = {"method": "DELETE"}


@pytest.fixture
def proxy(storage_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    with FaultProxy(storage_server.address) as proxy:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
        client = storage_client()
        yield proxy
        client.close()


@pytest.fixture
def root(proxy: FaultProxy) -> str:
    name = f"l-{uuid.uuid4().hex[:12]}"
    storage_client().create_bucket(name)
    return f"gs://{name}/lake"


def run_until_done(root: str, run_id: str, *flags: str) -> int:
    """Run as a scheduler would, again with the same run id after each error."""
    arguments = ["--rows", str(ROWS), "--output", root, "--run_id", run_id, "--progress", "off"]
    # A process of its own, for Google's client leaves sockets of lost answers to the collector.
    command = [sys.executable, "-m", "pipelines.batch", *arguments, *flags]

    def run() -> None:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            raise CelesError(ended.stderr.removesuffix("\n"))

    return until_done(run, TRIES)


@pytest.fixture
def directly(storage_server: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Look at the server itself from now on: pyarrow's client and the proxy share our GIL."""
    return lambda: monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{storage_server.address}")


def check(root: str, runs: int) -> None:
    lake = Lake.open(root)
    assert len(lake.runs()) == runs
    assert lake.snapshot().rows == ROWS * runs
    found = verify(lake)
    assert (found.problems, found.rows) == ((), ROWS * runs)


@pytest.mark.parametrize(
    ("requests", "how"),
    [
        *((DECISION, how) for how in ("drop", "reset", "cut", "lose_answer", "answer")),
        *((MOVES, how) for how in ("drop", "lose_answer", "answer")),
        *((requests, how) for requests in (LISTS, DELETES) for how in ("cut", "answer")),
    ],
)
def test_a_commit_is_made_once_whatever_is_lost(
    proxy: FaultProxy,
    root: str,
    how: Any,
    requests: dict[str, str],
    directly: Callable[[], None],
) -> None:
    proxy.add(how, nth(1, 2, 5), **requests)
    run_until_done(root, "uno")
    run_until_done(root, "dos", "--if_exists", "append")
    directly()
    check(root, 2)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))]
)
def test_a_bad_network_neither_loses_nor_doubles(
    proxy: FaultProxy, root: str, seed: int, directly: Callable[[], None]
) -> None:
    for i, how in enumerate(("drop", "reset", "half", "cut", "lose_answer", "answer")):
        proxy.add(how, at_random(0.03, seed * 10 + i))
    run_until_done(root, "uno")
    run_until_done(root, "dos", "--if_exists", "append")
    run_until_done(root, "tres", "--if_exists", "overwrite")
    directly()
    lake = Lake.open(root)
    assert [m.run_id for m in lake.runs()] == ["uno", "dos", "tres"]
    assert lake.snapshot().rows == ROWS
    assert verify(lake).problems == ()
