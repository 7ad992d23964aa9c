"""The Flink cluster of the local cloud: its settings, its command lines, and its health."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from celes_beam.errors import MissingProgramError
from celes_beam.local import flink, processes, programs, services
from celes_beam.local.flink import FLINK_PORTS, JOBS, MANAGER, WORKERS
from celes_beam.local.processes import HOST, Plan, Server, Tell

MANAGER_PORTS = {"http": 8081, "rpc": 6123, "blob": 6124}


@pytest.fixture
def plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Command lines of what would be started, by service."""
    made: dict[str, list[str]] = {}

    def start(plan: Plan, ports: dict[str, int], tell: Tell) -> Server | None:
        made[plan.service] = list(plan.command(ports))
        return None

    monkeypatch.setattr(flink, "start", start)
    monkeypatch.setattr(flink, "find_flink", lambda: (Path("java"), tmp_path / "jars"))
    return made


def start_all(folder: Path) -> None:
    """As ``up`` does, with ports from 1 on."""
    others = {MANAGER: MANAGER_PORTS}
    for name, ports in FLINK_PORTS.items():
        chosen = others.get(name) or {port: i for i, port in enumerate(ports, 1)}
        services.start_service(name, folder, chosen, others, lambda _: None)


def test_all_find_the_manager_and_nothing_is_open_to_others(
    tmp_path: Path, plans: dict[str, list[str]]
) -> None:
    start_all(tmp_path)
    assert [*plans] == [MANAGER, *WORKERS, JOBS]
    settings = yaml.safe_load((tmp_path / "flink" / "conf" / "config.yaml").read_text())
    for name in ("jobmanager.bind-host", "taskmanager.bind-host", "rest.bind-address"):
        assert settings[name] == HOST
    assert (
        settings["parallelism.default"] * 2
        == len(WORKERS) * settings["taskmanager.numberOfTaskSlots"]
    )
    assert "rest.port=8081" in plans[MANAGER]
    for worker in WORKERS:
        assert "jobmanager.rpc.port=6123" in plans[worker]
        assert f"taskmanager.resource-id={worker}" in plans[worker]
    assert f"--flink-master={HOST}:8081" in plans[JOBS]
    assert f"--job-host={HOST}" in plans[JOBS]


def test_a_folder_with_a_space_and_a_quote(tmp_path: Path, plans: dict[str, list[str]]) -> None:
    folder = tmp_path / "la nube d'Aragón"
    start_all(folder)
    settings = yaml.safe_load((folder / "flink" / "conf" / "config.yaml").read_text("utf-8"))
    assert settings["io.tmp.dirs"] == str(folder / "flink" / "tmp")
    assert settings["state.checkpoints.dir"].startswith("file:///")
    assert " " not in settings["state.checkpoints.dir"]


def test_a_worker_is_well_when_the_manager_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(processes, "listens", lambda pid, ports: True)
    monkeypatch.setattr(processes, "answers", lambda *a: bool(asked.append(a[:2])) or True)
    everything = {MANAGER: MANAGER_PORTS}
    for name in FLINK_PORTS:
        path = services.ready_path_of(name, everything)
        assert processes.is_ready(1, MANAGER_PORTS | {"http": 7}, path)
    assert asked == [
        (7, "/overview"),
        (8081, "/taskmanagers/flink-worker-1"),
        (8081, "/taskmanagers/flink-worker-2"),
    ]


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MADE", tmp_path)
    monkeypatch.setattr(programs, "_find_java", lambda: Path("java"))
    with pytest.raises(MissingProgramError, match="make flink fetches them"):
        programs.find_flink()
    monkeypatch.setattr(programs, "_find_java", lambda: None)
    with pytest.raises(MissingProgramError, match="Flink needs Java"):
        services.check_program(JOBS)
