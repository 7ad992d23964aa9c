"""Processes killed with SIGKILL before each system call that touches the lake, and races of them.

The work runs in a process of its own (this file as a script), which forks once for each point of
death: forking pytest itself, with Arrow's threads, would not be safe.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from celes_beam.errors import LakeConflictError
from celes_beam.stores.lake import lake as lake_module
from celes_beam.stores.lake.compact import compact
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import InputRecord
from celes_beam.stores.lake.verify import verify
from tests.lakes import Sale, commit_sales, draft, reject, visible_sales

REPOSITORY = Path(__file__).parents[2]
OLD: list[Sale] = [("Hogar", "Norte", 100), ("Ropa", "Sur", 250), ("Ropa", "Sur", 175)]
NEW: list[Sale] = [("Hogar", "Norte", 999), ("Hogar", "Este", 5), ("Ropa", "Sur", 1)]
REJECTED_ROWS = 2
RACERS = 4
LOST = 3
FILE = InputRecord(path="ventas.csv", size=10, version="1")

TOUCHING = {
    "open",
    "os.link",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.scandir",
}


# What is tested: each scenario is a lake to begin with, and a run on it.


def empty(root: Path) -> None:
    """No lake yet."""


def two_runs(root: Path) -> None:
    lake = Lake.open(str(root))
    commit_sales(lake, "old-1", OLD, kind="create")
    commit_sales(lake, "old-2", OLD)


def decided_only(root: Path) -> None:
    """An overwrite that was decided and of which nothing has been published."""
    two_runs(root)
    publish = lake_module.publish
    lake_module.publish = lambda *_: None  # type: ignore[assignment]
    try:
        sales("overwrite", "overwrite")(root)
    finally:
        lake_module.publish = publish


def sales(
    if_exists: str, kind: str, inputs: tuple[InputRecord, ...] = ()
) -> Callable[[Path], None]:
    def run(root: Path) -> None:
        lake = Lake.open(str(root))
        if lake.prepare(run_id="new", if_exists=if_exists) is None:
            staged = draft(lake, "new", NEW, kind=kind, inputs=inputs)
            lake.commit(reject(lake, staged, REJECTED_ROWS))

    return run


def compaction(root: Path) -> None:
    compact(Lake.open(str(root)), target_bytes=1_000_000, run_id="new")


SCENARIOS: dict[str, tuple[Callable[[Path], None], Callable[[Path], None], list[Sale]]] = {
    "create": (empty, sales("error", "create"), NEW),
    "append": (two_runs, sales("append", "append"), OLD + OLD + NEW),
    "append a file": (two_runs, sales("append", "append", (FILE,)), OLD + OLD + NEW),
    "overwrite": (two_runs, sales("overwrite", "overwrite", (FILE,)), NEW),
    "compact": (two_runs, compaction, OLD + OLD),
    "recover": (decided_only, sales("overwrite", "overwrite"), NEW),
}


# In pytest.


@pytest.mark.parametrize(
    ("scenario", "least"),
    [
        ("create", 40),
        ("append", 40),
        ("append a file", 50),
        ("overwrite", 40),
        ("compact", 40),
        ("recover", 20),
    ],
)
def test_killed_at_every_step_and_run_again(scenario: str, least: int) -> None:
    assert int(in_process_of_its_own("kill", scenario)) >= least


@pytest.mark.parametrize("kind", ["create", "append", "overwrite"])
def test_processes_racing_with_one_run_id_have_one_winner(kind: str) -> None:
    assert in_process_of_its_own("race", kind) == "raced"


@pytest.mark.parametrize("inputs", ["one", "many"])
def test_processes_racing_to_append_inputs_take_each_in_once(inputs: str) -> None:
    assert in_process_of_its_own("append", inputs) == "raced"


def test_processes_recovering_at_once_all_succeed() -> None:
    assert in_process_of_its_own("recover", "overwrite") == "recovered"


def in_process_of_its_own(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


# In the process of its own.


def kill_everywhere(name: str, work: Path) -> int:
    """Kill the run of a scenario before each of its system calls; returns how many there are."""
    prepare, run, after = SCENARIOS[name]
    base = work / "base"
    prepare(base)
    before = visible_sales(base)
    for point in range(1, 10_000):
        root = work / f"lake-{point}"
        if base.exists():
            shutil.copytree(base, root)
        killed = killed_at(point, root, run)
        check_all_or_nothing(name, root, before, plain(after))
        run(root)
        check_whole(name, root, plain(after))
        shutil.rmtree(root)
        if not killed:
            return point - 1
    raise AssertionError("the run never came to its end")


def killed_at(point: int, root: Path, run: Callable[[Path], None]) -> bool:
    """Run in a child that dies before its ``point``-th system call on the lake."""

    def child() -> None:
        left = point

        def die(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in TOUCHING and str(arguments[0]).startswith(str(root)):
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        run(root)

    return -signal.SIGKILL in forked([child])


def check_all_or_nothing(
    name: str, root: Path, before: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    decided = (root / "_commits" / "new.json").exists()
    if not decided:
        assert visible_sales(root) == before, f"{name}: visible before it was decided"
    snapshot = Lake.open(str(root)).snapshot()
    assert visible_sales(root) == (after if decided else before), f"{name}: decided={decided}"
    assert snapshot.rows == len(visible_sales(root))


def check_whole(name: str, root: Path, after: list[tuple[str, int]]) -> None:
    assert visible_sales(root) == after, name
    assert not (root / "_staging").exists(), list((root / "_staging").rglob("*"))
    left = [f.name for f in (root / "_commits").iterdir() if f.name.startswith(".")]
    assert not left, left
    lake = Lake.open(str(root))
    rejected = 0 if name == "compact" else REJECTED_ROWS
    run = lake.find("new")
    assert run is not None
    assert sum(f.rows for f in run.rejected_files) == rejected
    in_folder = {str(f.relative_to(root)) for f in root.glob("_rejected/*/*")}
    assert in_folder == {f.path for f in run.rejected_files}
    found = verify(lake)
    assert (found.problems, found.notes) == ((), ())


def race(kind: str, work: Path) -> None:
    """Let processes that have all staged decide at once."""
    root = work / "lake"
    if kind != "create":
        two_runs(root)
    after = {"create": NEW, "append": OLD + OLD + NEW, "overwrite": NEW}[kind]
    read_end, write_end = os.pipe()

    def racer() -> None:
        os.close(write_end)
        lake = Lake.open(str(root))
        staged = reject(lake, draft(lake, "new", NEW, kind=kind), REJECTED_ROWS)
        (work / f"{os.getpid()}.ready").touch()
        os.read(read_end, 1)
        try:
            lake.commit(staged)
        except LakeConflictError as error:
            os._exit(LOST if "was committed by another process" in str(error) else 1)

    children = [fork(racer) for _ in range(RACERS)]
    while len(list(work.glob("*.ready"))) < RACERS:
        os.sched_yield()
    # All wait for the end of the pipe, so all are let go at once.
    os.close(write_end)
    codes = [wait(child) for child in children]
    assert sorted(codes) == [0] + [LOST] * (RACERS - 1), codes
    check_whole(kind, root, plain(after))
    print("raced")


def race_to_append(inputs: str, work: Path) -> None:
    """Let runs that have all staged, of one input or of one each, decide at once."""
    for attempt in range(10):
        root = work / f"lake-{attempt}"
        two_runs(root)
        pipe = read_end, write_end = os.pipe()

        def racer(number: int, root: Path = root, ends: tuple[int, int] = pipe) -> None:
            os.close(ends[1])
            lake = Lake.open(str(root))
            path = "ventas.csv" if inputs == "one" else f"ventas-{number}.csv"
            record = InputRecord(path=path, size=10, version="1")
            staged = draft(lake, f"new-{number}", NEW, inputs=(record,))
            lake.storage.put_if_absent(f"_staging/new-{number}/ready", b"")
            os.read(ends[0], 1)
            try:
                lake.commit(staged)
            except LakeConflictError as error:
                os._exit(LOST if "was taken into the lake by another run" in str(error) else 1)

        children = [fork(lambda n=n: racer(n)) for n in range(RACERS)]
        while len(list(root.glob("_staging/new-*/ready"))) < RACERS:
            os.sched_yield()
        os.close(write_end)
        codes = sorted(wait(child) for child in children)
        os.close(read_end)
        winners = 1 if inputs == "one" else RACERS
        assert codes == [0] * winners + [LOST] * (RACERS - winners), codes
        assert visible_sales(root) == plain(OLD + OLD + NEW * winners)
        assert verify(Lake.open(str(root))).problems == ()
    print("raced")


def recover_at_once(work: Path) -> None:
    base = work / "base"
    decided_only(base)
    for attempt in range(20):
        root = work / f"lake-{attempt}"
        shutil.copytree(base, root)
        codes = forked([lambda root=root: Lake.open(str(root)).recover()] * RACERS)
        assert codes == [0] * RACERS, codes
        check_whole("overwrite", root, plain(NEW))
    print("recovered")


def plain(rows: Sequence[Sale]) -> list[tuple[str, int]]:
    return sorted((region, cents) for _, region, cents in rows)


def forked(bodies: Sequence[Callable[[], object]]) -> list[int]:
    """Run each in a child process at the same time; returns their exit codes."""
    return [wait(child) for child in [fork(body) for body in bodies]]


def fork(body: Callable[[], object]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        body()
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(code)


def wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    what, name = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        if what == "kill":
            print(kill_everywhere(name, Path(folder)))
        elif what == "race":
            race(name, Path(folder))
        elif what == "append":
            race_to_append(name, Path(folder))
        else:
            recover_at_once(Path(folder))


if __name__ == "__main__":
    main()
