"""``celes-beam local``: what the command line accepts, and what it says when nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam import cli
from celes_beam.local import cloud, programs


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--only", "storage,spanner"], "'spanner' is not one of storage, bigquery, pubsub"),
        (["--only", ","], "',' is not one of storage"),
        (["--storage_port", "70000"], "70000 is not a port (1 to 65535, 0 for any)"),
        (["--storage_port", "-1"], "-1 is not a port"),
        (["--only", "storage", "--pubsub_port", "9"], "--pubsub_port is given, but --only leaves"),
        (["--flink_port", "9"], "--flink_port is given, but not --with flink"),
        (["--with", "spark"], "'spark' is not one of storage, bigquery, pubsub, flink"),
        (
            ["--bigquery_port", "9", "--bigquery_grpc_port", "9"],
            "--bigquery_port and --bigquery_grpc_port are both 9",
        ),
    ],
)
def test_flags_that_cannot_be_used(
    flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "cloud"
    assert cli.main(["local", "up", "--folder", str(folder), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not folder.exists()


def test_nothing_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "la nube")
    assert cli.main(["local", "status", "--folder", folder]) == 0
    out, err = capsys.readouterr()
    up = f"celes-beam local up --folder '{folder}'"
    assert (out, err) == (f"Nothing runs in {folder}: {up} starts it\n", "")
    assert cli.main(["local", "down", "--folder", folder]) == 0
    assert capsys.readouterr().out == f"Nothing runs in {folder}\n"
    assert cli.main(["local", "env", "--folder", folder]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"nothing runs in {folder}: run {up} first" in err


def test_all_that_is_missing_is_told_in_a_line_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr(programs, "_BIGQUERY_MODULES", ("no_such_package",))
    monkeypatch.setattr(cloud, "start_service", None)
    assert cli.main(["local", "up", "--folder", str(tmp_path / "c"), "--only", "bigquery"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "BigQuery needs the package no_such_package: pip install 'celes-beam[local]'" in line
    assert (
        cli.main(["local", "up", "--folder", str(tmp_path / "c"), "--only", "pubsub,bigquery"]) == 2
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert "no_such_package" in line
    assert "Pub/Sub needs Java: install one" in line
