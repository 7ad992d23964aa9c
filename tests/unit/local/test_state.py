"""What a folder remembers of its servers, and that nobody else's process is taken for one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from celes_beam.errors import LocalServerError, UsageError
from celes_beam.local import cloud, state
from celes_beam.local.cloud import State, down, status
from celes_beam.local.processes import HOST, end_of_log
from celes_beam.local.state import LOCK, STATE, Record, load, locked, process_of, save


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is not ours."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def record_of(pid: int, service: str = "storage", port: int = 1) -> Record:
    variables = {"STORAGE_EMULATOR_HOST": f"http://{HOST}:{port}"}
    started = state.started_after_boot(pid)
    return Record(service, pid, started, {"http": port}, "no.log", variables)


def test_what_is_saved_is_loaded_and_nothing_is_no_file(tmp_path: Path) -> None:
    records = {"storage": record_of(os.getpid()), "pubsub": record_of(os.getpid(), "pubsub")}
    save(tmp_path, records)
    assert load(tmp_path) == records
    save(tmp_path, {})
    assert load(tmp_path) == {}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", '{"servers": [{"pid": "x"}]}'])
def test_a_state_that_cannot_be_read_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text(text)
    with pytest.raises(UsageError, match=r"state\.json does not tell which servers run"):
        load(tmp_path)


def test_a_recycled_id_is_not_ours_and_is_left_alone(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    ours = record_of(bystander.pid)
    other = msgspec.structs.replace(ours, started=ours.started - 1)
    assert process_of(ours) is not None
    assert process_of(other) is None
    with locked(tmp_path):
        save(tmp_path, {"storage": other})
    assert [s.state for s in status(tmp_path)] == [State.CRASHED, State.STOPPED, State.STOPPED]
    (ended,) = down(tmp_path)
    assert (ended.pid, ended.how) == (bystander.pid, "had ended by itself")
    assert bystander.poll() is None
    assert not (tmp_path / STATE).exists()


def test_a_process_that_its_parent_does_not_look_after_has_ended(
    bystander: subprocess.Popen[bytes],
) -> None:
    record = record_of(bystander.pid)
    bystander.kill()
    # Waits without taking the process off the list: it stays a zombie.
    os.waitid(os.P_PID, bystander.pid, os.WEXITED | os.WNOWAIT)
    assert process_of(record) is None


def test_a_process_without_its_ports_does_not_answer(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    with locked(tmp_path):
        save(tmp_path, {"storage": record_of(bystander.pid)})
    storage = status(tmp_path)[0]
    assert storage.state is State.SILENT
    assert storage.failed
    assert [e.how for e in down(tmp_path)] == ["stopped"]
    assert bystander.wait(5) != 0


def test_a_process_that_ignores_a_polite_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloud, "_STOP_SECONDS", 0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True)"
    command = [sys.executable, "-c", f"{deaf}; input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with locked(tmp_path):
            save(tmp_path, {"storage": record_of(process.pid)})
        assert [e.how for e in down(tmp_path)] == ["killed"]
        assert process.wait(5) == -9


def test_two_commands_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered = threading.Event()

    def second() -> None:
        with locked(tmp_path):
            entered.set()

    other = threading.Thread(target=second)
    with locked(tmp_path):
        other.start()
        assert not entered.wait(0.3)
        monkeypatch.setattr(state, "_LOCK_SECONDS", 0)
        with pytest.raises(LocalServerError, match="another celes-beam local"), locked(tmp_path):
            pass
        monkeypatch.undo()
    assert entered.wait(5)
    other.join()


def test_a_folder_deleted_by_the_command_before_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "cloud"
    held: list[bool] = []

    def second() -> None:
        with locked(folder):
            held.append((folder / LOCK).exists())

    other = threading.Thread(target=second)
    with caplog.at_level("INFO"), locked(folder):
        other.start()
        end = time.monotonic() + 5
        while "waiting: another" not in caplog.text:
            assert time.monotonic() < end
            time.sleep(0.01)
        cloud._delete(folder)
        assert not folder.exists()
    other.join(5)
    assert held == [True]


def test_a_folder_may_be_deleted_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "local"
    folder.mkdir()
    is_dir, exists = Path.is_dir, Path.exists

    def deleted_before_the_look(path: Path) -> bool:
        if path == folder and exists(folder):
            monkeypatch.setattr(Path, "is_dir", is_dir)
            folder.rmdir()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", deleted_before_the_look)
    with locked(folder):
        assert is_dir(folder)


def test_two_may_delete_the_data_of_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "local"
    folder.mkdir()
    iterdir = Path.iterdir

    def deleted_before_the_look(path: Path) -> Iterator[Path]:
        folder.rmdir()
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", deleted_before_the_look)
    assert down(folder, delete_data=True) == []


def test_a_folder_with_other_files_is_refused_and_nothing_deleted(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    with pytest.raises(UsageError, match=r"holds other files \(storage, …\): name a new"):
        cloud.up(tmp_path, ["storage"])
    with pytest.raises(UsageError, match="nothing was deleted"):
        down(tmp_path, delete_data=True)
    assert [p.name for p in tmp_path.iterdir()] == ["storage"]
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is not a folder"):
        cloud.up(tmp_path / "file", ["storage"])


def test_deleted_is_what_is_ours(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / "storage" / "b").mkdir(parents=True)
    (tmp_path / "notes.txt").touch()
    assert down(tmp_path, delete_data=True) == []
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_where_nothing_was_started_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    assert [s.state for s in status(folder)] == [State.STOPPED] * 3
    assert down(folder, delete_data=True) == []
    assert not folder.exists()


def test_an_old_port_is_used_again_unless_another_is_given_or_it_is_taken() -> None:
    old = Record("bigquery", 1, 0, {"http": 1, "grpc": 2}, "", {})
    free = {1: True, 2: False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cloud, "is_free", free.get)
        assert cloud._ports("bigquery", old, {}) == {"http": 1, "grpc": 0}
        assert cloud._ports("bigquery", old, {"http": 7, "grpc": 8}) == {"http": 7, "grpc": 8}
    assert cloud._ports("bigquery", None, {}) == {"http": 0, "grpc": 0}
    assert cloud.address(old) == "127.0.0.1:1, grpc 2"


def test_the_end_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\n\n  two  words\n")
    assert end_of_log(log, 5) == ["one", "two words"]
    assert end_of_log(log, 1) == ["two words"]
    log.write_text("\n")
    assert end_of_log(log, 5) == ["its log is empty"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_takes_no_more_is_told_with_the_folder(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(LocalServerError, match=r"--folder .* cannot be written: .*; make room"):
        cloud.up(tmp_path / "local", ())
