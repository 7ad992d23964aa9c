from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from celes_beam.compare import measured
from celes_beam.compare.measured import Ended, run_measured


def run(code: str, *, timeout: float | None = None) -> Ended:
    with tempfile.TemporaryFile() as out:
        return run_measured([sys.executable, "-c", code], out, out, timeout=timeout)


def wait_for(path: Path) -> int:
    end = time.monotonic() + 20
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < end
        time.sleep(0.01)
    return int(path.read_text())


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def forever(path: Path) -> str:
    """A process that heeds no SIGTERM and starts one that leaves its group."""
    child = f"import os,time; open({str(path)!r}, 'w').write(f'{{os.getpid()}}\\n'); time.sleep(60)"
    return (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)\n"
        "time.sleep(60)"
    )


def test_the_exit_code_and_the_seconds_are_those_of_the_process() -> None:
    ended = run("import time; time.sleep(0.3); raise SystemExit(7)")
    assert ended.code == 7
    assert 0.3 < ended.seconds < 5


def test_a_signal_is_a_negative_code() -> None:
    assert run("import os; os.kill(os.getpid(), 9)").code == -signal.SIGKILL


def test_memory_is_that_of_the_whole_tree() -> None:
    child = "import time; held = b'1' * 150_000_000; time.sleep(1)"
    code = (
        "import subprocess, sys\n"
        f"both = [subprocess.Popen([sys.executable, '-c', {child!r}]) for _ in range(2)]\n"
        "for one in both: one.wait()"
    )
    assert 300 < run(code).peak_mb < 400


def peak_seen_from_afresh(code: str, before: str = "") -> float:
    """The peak of a process, as another small one measures it; ``before`` is what that does first.

    To this process, which is large after many tests, the kernel tells nothing of small ones.
    """
    script = (
        "import sys, tempfile\n"
        f"from celes_beam.compare import measured\n{before}\n"
        "with tempfile.TemporaryFile() as out:\n"
        f"    print(measured.run_measured([sys.executable, '-c', {code!r}], out, out).peak_mb)\n"
    )
    # By way of a shell: what a process starts counts from its own size on.
    command = ["/bin/sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return float(said.stdout)


def test_a_peak_that_no_look_saw_is_known_from_the_kernel() -> None:
    blind = "measured._look_on = lambda tree, waiting, *_: waiting.ended_within(60)"
    assert peak_seen_from_afresh("held = b'1' * 200_000_000; del held", blind) > 200


def test_a_small_process_does_not_count_as_large_as_the_one_that_started_it() -> None:
    held = "held = b'1' * 300_000_000"
    assert 5 < peak_seen_from_afresh("import time; time.sleep(0.3)", held) < 60


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_bytes_read_are_counted_to_the_end_and_with_children(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"x" * 20_000_000)
    read = f"open({str(path)!r}, 'rb').read()"
    nothing, alone = run("pass").bytes_read, run(read).bytes_read
    child = run(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {read!r}])")
    assert nothing is not None
    assert alone is not None
    assert child.bytes_read is not None
    assert 20_000_000 <= alone - nothing < 21_000_000
    assert child.bytes_read > alone


def test_after_the_timeout_nothing_runs_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "_POLITE_SECONDS", 0.1)
    ended = run(forever(tmp_path / "pid"), timeout=1.5)
    assert ended.code is None
    assert ended.seconds >= 1.5
    assert is_gone(wait_for(tmp_path / "pid"))


# Where the interrupt comes into the reading of a file of /proc, that file is closed by Python.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_interrupted_it_ends_the_children_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measured, "_POLITE_SECONDS", 0.1)

    def interrupt() -> None:
        wait_for(tmp_path / "pid")
        time.sleep(2 * measured.LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(forever(tmp_path / "pid"))
    assert is_gone(wait_for(tmp_path / "pid"))


def test_what_it_leaves_running_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celes_beam.compare.process_tree._LEAVE_SECONDS", 0.1)
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    code = (
        "import subprocess, sys, time\n"
        f"one = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)\n"
        f"open({str(tmp_path / 'pid')!r}, 'wb').write(one.stdout.readline())\n"
        "time.sleep(0.4)"
    )
    assert run(code).code == 0
    assert is_gone(wait_for(tmp_path / "pid"))


def test_it_does_without_descriptors_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError("not here")

    monkeypatch.setattr(os, "pidfd_open", refuse, raising=False)
    ended = run("import time; time.sleep(0.2); raise SystemExit(7)")
    assert ended.code == 7
    assert 0.2 < ended.seconds < 5
    assert run("import time; time.sleep(60)", timeout=0.3).code is None


def test_a_program_that_is_not_there_is_an_error() -> None:
    with tempfile.TemporaryFile() as out, pytest.raises(OSError, match="no-such-program"):
        run_measured(["/no-such-program"], out, out)
