"""The commands that deploy: shown exactly as they would run, and refused before they would fail."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from celes_beam.cli import main
from tests.tools import ROOT

IMAGE = "us-central1-docker.pkg.dev/p/celes-beam/celes-beam:0.1.0"
RUN = ["deploy", "run", "batch", "--template", "gs://s/templates/batch.json", "--image", IMAGE]
OUTPUT = ["--set", "output=gs://b/lake"]


def shown(capsys: pytest.CaptureFixture[str], *argv: str) -> list[list[str]]:
    assert main([*argv, "--print"]) == 0
    return [shlex.split(line) for line in capsys.readouterr().out.splitlines()]


def test_the_image_is_built_for_dataflows_machines_from_a_commit_and_pushed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    build, push = shown(
        capsys,
        *("deploy", "build", "--image", IMAGE, "--push", "--revision", "abc"),
        *("--build_arg", "SDK_IMAGE=mirror/beam@sha256:1"),
    )

    assert build[:4] == ["docker", "build", "--platform", "linux/amd64"]
    assert build[-1] == "."
    arguments = {build[i + 1] for i, part in enumerate(build) if part == "--build-arg"}
    assert arguments == {
        "VERSION=0.1.0",
        "REVISION=abc",
        "SOURCE_DATE_EPOCH=1700000000",
        "SDK_IMAGE=mirror/beam@sha256:1",
    }
    assert push == ["docker", "push", IMAGE]


def test_elsewhere_there_is_nothing_to_build(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["deploy", "build", "--image", IMAGE]) == 2
    assert "run it in the folder of the repository" in capsys.readouterr().err


def test_template_files_are_made_and_put_into_the_bucket(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = _stand_in(tmp_path, monkeypatch, "gcloud")
    folder = tmp_path / "made"

    code = main(
        [
            *("deploy", "template", "all", "--image", IMAGE, "--to", "gs://s/templates/"),
            *("--folder", str(folder), "--subnetwork", "regions/r/subnetworks/n"),
            *("--label", "a=b"),
        ]
    )

    assert code == 0, capsys.readouterr().err
    assert log.read_text().splitlines() == [
        f"storage cp {folder}/{name}.json gs://s/templates/{name}.json"
        for name in ("batch", "streaming", "replay")
    ]
    spec = json.loads((folder / "streaming.json").read_text())
    assert spec["image"] == IMAGE
    assert spec["metadata"]["streaming"] is True
    assert spec["defaultEnvironment"] == {
        "sdkContainerImage": IMAGE,
        "ipConfiguration": "WORKER_IP_PRIVATE",
        "subnetwork": "regions/r/subnetworks/n",
        "additionalUserLabels": {"a": "b"},
        "enableStreamingEngine": True,
    }


def test_a_print_changes_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "made"

    main(
        [
            *("deploy", "template", "batch", "--image", IMAGE, "--folder", str(folder)),
            *("--print", "--to", "gs://s/t"),
        ]
    )

    assert not folder.exists()
    assert capsys.readouterr().out.endswith(
        f"gcloud storage cp {folder}/batch.json gs://s/t/batch.json\n"
    )


def test_a_command_that_fails_ends_ours_with_its_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(tmp_path, monkeypatch, "gcloud", code=7)

    assert main([*RUN, *OUTPUT]) == 7
    assert "gcloud ended with code 7" in capsys.readouterr().err


def test_a_program_that_is_missing_is_named_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main([*RUN, *OUTPUT]) == 2
    assert "gcloud is missing: install the Google Cloud CLI" in capsys.readouterr().err


def _stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int = 0) -> Path:
    """A program that notes how it was called."""
    log, place = folder / "calls", folder / "bin"
    place.mkdir()
    program = place / name
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(log))}\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
    return log


def test_values_with_commas_are_separated_by_something_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (plain,) = shown(capsys, *RUN, *OUTPUT)
    assert plain[-1] == f"--parameters=output=gs://b/lake,sdk_container_image={IMAGE}"

    (command,) = shown(capsys, *RUN, *OUTPUT, "--set", "input=gs://b/a~1,gs://b/c")
    assert command[-1] == (
        f"--parameters=^|^output=gs://b/lake|input=gs://b/a~1,gs://b/c|sdk_container_image={IMAGE}"
    )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--set output=… is missing"),
        ([*OUTPUT, "--set", "output"], "--set output: expected NAME=VALUE"),
        ([*OUTPUT, "--set", "watch=5"], "--set watch: not for batch: a job ends"),
        ([*OUTPUT, "--set", "rows_=5"], "--set rows_: not for batch: a template of it has no"),
        ([*OUTPUT, "--set", "rows=many"], "Dataflow would refuse it"),
        ([*OUTPUT, "--set", "reprocess=yes"], "expected one of true, false"),
        ([*OUTPUT, "--set", "columns=nobody=x"], "--columns nobody=x: expected COLUMN=HEADER"),
        ([*OUTPUT, "--update"], "--update is for streaming jobs"),
        ([*OUTPUT, "--job_name", "Ventas"], "--job_name Ventas: expected lower-case"),
        ([*OUTPUT, "--label", "Team=x"], "--label Team=x: expected KEY=VALUE"),
        ([*OUTPUT, "--temp_location", "/tmp"], "--temp_location /tmp: expected gs://"),
    ],
)
def test_what_would_fail_is_refused_before(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main([*RUN, *argv, "--print"]) == 2
    assert message in capsys.readouterr().err
