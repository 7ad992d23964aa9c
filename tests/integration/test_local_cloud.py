"""``celes-beam local`` as a person uses it: real servers, each command a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from celes_beam.errors import MissingProgramError
from celes_beam.local import programs
from celes_beam.local.processes import is_free
from tests.tools import missing, need_tool

SECONDS = 60


class LocalCloud:
    """Runs ``celes-beam local`` for one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids: set[int] = set()
        self.ports: set[int] = set()

    def command(self, *argv: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "celes_beam.cli",
            "local",
            *argv,
            "--folder",
            str(self.folder),
        ]

    def start(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*argv), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *argv: str) -> tuple[int, str, str]:
        with self.start(*argv) as process:
            out, err = process.communicate(timeout=SECONDS)
        self.servers()
        return process.returncode, out, err

    def servers(self) -> dict[str, Any]:
        """What the state says, by service; all that it ever said is remembered."""
        state = self.folder / "state.json"
        found = json.loads(state.read_bytes())["servers"] if state.exists() else []
        self.pids |= {server["pid"] for server in found}
        self.ports |= {port for server in found for port in server["ports"].values()}
        return {server["service"]: server for server in found}

    def in_shell(self, script: str, *env: str) -> str:
        """Run a script in a shell that was turned to the local cloud."""
        run = subprocess.run(
            ["bash", "-euc", f'eval "$("$@")"\n{script}', "bash", *self.command("env", *env)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    def assert_nothing_left(self) -> None:
        assert self.pids
        assert not (self.folder / "state.json").exists()
        assert not [pid for pid in self.pids if is_alive(pid)]
        assert all(is_free(port) for port in self.ports)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalCloud]:
    cloud = LocalCloud(tmp_path / "la nube")
    yield cloud
    code, out, err = cloud("down", "--delete_data")
    assert code == 0, out + err
    assert not cloud.folder.exists()


@pytest.fixture
def complete() -> None:
    """A machine that has all three servers."""
    try:
        programs.find_storage_server()
        programs.check_bigquery_server()
        programs.find_pubsub_server()
    except MissingProgramError as error:
        missing(str(error))


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.usefixtures("complete")
def test_up_used_crashed_mended_and_down(local: LocalCloud) -> None:
    code, out, err = local("up")
    assert (code, err) == (0, "")
    assert "started storage, bigquery, pubsub" in out
    first = local.servers()
    assert out.count("running") == 3
    assert all(str(server["pid"]) in out for server in first.values())

    code, out, err = local("up")
    assert (code, err) == (0, "")
    assert "already up, nothing was started" in out
    assert local.servers() == first
    code, out, _ = local("status")
    assert code == 0
    assert out.count("running") == 3

    code, out, err = local("env")
    assert (code, err) == (0, "")
    assert all(line.startswith("export ") for line in out.splitlines())
    client = (
        "from google.cloud import storage\n"
        "client = storage.Client()\n"
        "bucket = client.create_bucket('ventas', project='p')\n"
        "bucket.blob('a/b.txt').upload_from_string('hola')\n"
        "from celes_beam.stores.cloud.clients import bigquery_client\n"
        "bigquery_client('p').create_dataset('d')\n"
        "bigquery_client('p').query_and_wait('create table p.d.t as select 7 as n')\n"
    )
    local.in_shell(f'{sys.executable} -c "{client}"')
    assert (local.folder / "storage" / "ventas" / "a" / "b.txt").read_text() == "hola"

    for name in ("storage", "bigquery"):
        os.kill(first[name]["pid"], signal.SIGKILL)
    code, out, err = local("status")
    assert (code, err) == (1, "")
    assert out.count("│ crashed") == 2
    assert "storage crashed: celes-beam local up" in out
    end = out.split("bigquery.log:\n")[1].splitlines()
    last = Path(first["bigquery"]["log"]).read_text().splitlines()[-1]
    assert end[-1].split() == " ".join(last.split())[:300].split()
    code, out, err = local("env")
    assert (code, out) == (1, "")
    assert "storage crashed: celes-beam local up" in err

    code, out, _ = local("up")
    assert code == 0
    assert "started storage, bigquery\n" in out
    second = local.servers()
    assert second["pubsub"] == first["pubsub"]
    for name in ("storage", "bigquery"):
        assert second[name]["ports"] == first[name]["ports"]
        assert second[name]["pid"] != first[name]["pid"]
    # What was there before the crash still is, for the same variables as before.
    client = (
        "from google.cloud import storage\n"
        "from celes_beam.stores.cloud.clients import bigquery_client\n"
        "print(storage.Client().bucket('ventas').blob('a/b.txt').download_as_text())\n"
        "((n,),) = bigquery_client('p').query_and_wait('select n from p.d.t')\n"
        "print(n)\n"
    )
    assert local.in_shell(f'{sys.executable} -c "{client}"').split() == ["hola", "7"]

    code, out, err = local("down")
    assert (code, err) == (0, "")
    assert out.count("stopped (pid ") == 3
    local.assert_nothing_left()
    assert (local.folder / "storage" / "ventas" / "a" / "b.txt").exists()
    code, out, _ = local("down")
    assert code == 0
    assert "Nothing runs" in out


@pytest.mark.usefixtures("complete")
def test_googles_command_lines_reach_the_local_cloud(local: LocalCloud) -> None:
    need_tool("gcloud", "install the Google Cloud CLI")
    need_tool("bq", "install the Google Cloud CLI")
    assert local("up")[0] == 0
    script = (
        "gcloud storage buckets create gs://ventas -q 2>/dev/null\n"
        "gcloud storage ls\n"
        "gcloud pubsub topics create ventas -q 2>/dev/null\n"
        "gcloud pubsub topics list --format='value(name)'\n"
        "bq query --use_legacy_sql=false --format=csv 'select 40 + 2 as n'\n"
    )
    lines = local.in_shell(script, "--gcloud").split()
    assert lines == ["gs://ventas/", "projects/celes-dev/topics/ventas", "n", "42"]


def test_two_at_once_start_one_server(local: LocalCloud) -> None:
    need_storage()
    with (
        local.start("up", "--only", "storage") as one,
        local.start("up", "--only", "storage") as two,
    ):
        outs = [process.communicate(timeout=SECONDS)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0)
    assert sorted("started storage" in out for out in outs) == [False, True]
    assert sorted("already up" in out for out in outs) == [False, True]
    assert all(str(local.servers()["storage"]["pid"]) in out for out in outs)


def test_given_ports_and_what_cannot_be_had(local: LocalCloud) -> None:
    need_storage()
    port, taken = free_port(), socket.socket()
    with taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        flags = ["--storage_port", str(port), "--bigquery_port", str(taken.getsockname()[1])]
        code, _, err = local("up", "--only", "storage,bigquery", *flags)
    # Storage was up by then: it is not left behind.
    assert code == 2
    assert "bigquery: port" in err
    assert "is taken: give another" in err
    assert local.servers() == {}
    assert is_free(port)

    assert local("up", "--only", "storage", "--storage_port", str(port))[0] == 0
    assert local.servers()["storage"]["ports"] == {"http": port}
    code, _, err = local("up", "--storage_port", str(free_port()), "--only", "storage")
    assert code == 2
    assert f"storage runs on port {port} (http) already" in err


@pytest.mark.usefixtures("complete")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_half_way_nothing_is_left(
    local: LocalCloud, sent: signal.Signals, code: int
) -> None:
    err = interrupt_half_way(local, sent, code)
    assert "it is safe to run it again" in err
    local.assert_nothing_left()


@pytest.mark.usefixtures("complete")
def test_killed_half_way_the_servers_are_known(local: LocalCloud) -> None:
    interrupt_half_way(local, signal.SIGKILL, -signal.SIGKILL)
    assert [*local.servers()] == ["storage", "bigquery"]
    assert all(is_alive(pid) for pid in local.pids)
    code, out, _ = local("down")
    assert code == 0
    assert out.count("(pid ") == 2
    local.assert_nothing_left()


def interrupt_half_way(local: LocalCloud, sent: signal.Signals, code: int) -> str:
    """Send a signal to ``up`` once storage is up and BigQuery, which takes a second, on its way."""
    with local.start("up") as process:
        end = time.monotonic() + SECONDS
        while len(local.servers()) < 2:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(sent)
        err = process.communicate(timeout=SECONDS)[1]
    assert process.returncode == code
    assert len(local.pids) == 2
    return err


def need_storage() -> None:
    try:
        programs.find_storage_server()
    except MissingProgramError as error:
        missing(str(error))
