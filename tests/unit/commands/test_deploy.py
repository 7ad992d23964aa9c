"""The commands that deploy: shown exactly as they would run, and refused before they would fail."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from celes_beam.cli import main
from tests.tools import ROOT

IMAGE = "us-central1-docker.pkg.dev/p/celes-beam/celes-beam:0.1.0"
RUN = ["deploy", "run", "batch", "--template", "gs://s/templates/batch.json", "--image", IMAGE]
OUTPUT = ["--set", "output=gs://b/lake"]
IN_US = ["--region", "us-central1"]
KEY = "projects/p/locations/{}/keyRings/celes/cryptoKeys/dataflow"


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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--image", "a b"], "--image a b: expected"),
        (["--image", f"r/p/i@sha256:{'0' * 64}"], "and no digest, which the build decides"),
        (["--image", "i:1", "--build_arg", "=x"], "--build_arg =x: expected NAME=VALUE"),
        (["--image", "i:1"], "SOURCE_DATE_EPOCH=today: expected seconds since 1970"),
    ],
)
def test_what_cannot_be_built_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")

    assert main(["deploy", "build", *argv, "--revision", "abc", "--print"]) == 2
    assert message in capsys.readouterr().err


def test_an_image_of_what_is_not_committed_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dockerfile = tmp_path / "Dockerfile.flex"
    dockerfile.write_text("FROM scratch\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.com"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)

    def revision() -> str:
        (build,) = shown(capsys, "deploy", "build", "--image", "i:1")
        return next(one for one in build if one.startswith("REVISION=")).removeprefix("REVISION=")

    committed = revision()
    assert re.fullmatch("[0-9a-f]{40}", committed)
    dockerfile.write_text("FROM other\n")
    assert revision() == f"{committed}-dirty"


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
        f"gcloud storage cp {folder}/{name}.json gs://s/templates/{name}.json "
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


@pytest.mark.parametrize(
    "argv",
    [
        ["build", "--image", IMAGE, "--push", "--revision", "it's $HOME", "--build_arg", "A=`b` *"],
        ["template", "all", "--image", IMAGE, "--to", "gs://s/$(t)", "--folder", "my made; files"],
        [
            *(RUN[1:]),
            *("--set", "output=gs://b/$HOME/it's*", "--set", 'regions=Norte y Sur,~|;!,"x" #'),
        ],
        [*RUN[1:], *OUTPUT, "--label", "a=b", "--set", r"columns=cantidad_de_venta=Importe \$ `€`"],
    ],
)
def test_what_is_shown_does_in_a_shell_what_is_done(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    argv: list[str],
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    log = _stand_in(tmp_path, monkeypatch, "gcloud", "docker", told="\\0")
    done = {}
    for way in ("run", "shown"):
        folder = tmp_path / way
        folder.mkdir()
        (folder / "Dockerfile.flex").touch()
        monkeypatch.chdir(folder)
        log.write_text("")
        assert main(["deploy", *argv, *(["--print"] if way == "shown" else [])]) == 0
        said = capsys.readouterr().out
        if way == "shown":
            subprocess.run(["sh", "-eu", "-c", said], check=True)
        files = {str(f.relative_to(folder)): f.read_text() for f in folder.rglob("*.json")}
        done[way] = log.read_text(), files

    assert done["run"][0]
    assert done["shown"] == done["run"]


def test_a_command_that_fails_ends_ours_with_its_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _stand_in(tmp_path, monkeypatch, "gcloud", code=7)

    assert main([*RUN, *OUTPUT]) == 7
    assert "gcloud ended with code 7" in capsys.readouterr().err


def test_a_command_that_is_killed_ends_ours_as_a_shell_would(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = _stand_in(tmp_path, monkeypatch, "gcloud")
    (log.parent / "bin" / "gcloud").write_text("#!/bin/sh\nkill -TERM $$\n")

    assert main([*RUN, *OUTPUT]) == 143
    assert "gcloud ended with code 143" in capsys.readouterr().err


def test_a_program_that_is_missing_is_named_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main([*RUN, *OUTPUT]) == 2
    assert "gcloud is missing: install the Google Cloud CLI" in capsys.readouterr().err


def _stand_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str, code: int = 0, told: str = " "
) -> Path:
    """Programs that note how they were called, with ``told`` after each word."""
    log, place = folder / "calls", folder / "bin"
    place.mkdir()
    for name in names:
        program = place / name
        program.write_text(
            f"#!/bin/sh\n(printf '%s{told}' {name} \"$@\"; echo) >> {shlex.quote(str(log))}\n"
            f"exit {code}\n"
        )
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
        ([*OUTPUT, "--temp_location", "gs://"], "--temp_location gs://: expected gs://BUCKET"),
        ([*OUTPUT, *OUTPUT], "--set output is given twice, and a template takes each once"),
        ([*OUTPUT, "--label", "a=b", "--label", "a=c"], "--label a is given twice, as b and as c"),
        ([*OUTPUT, "--set", "run_id=día"], "Dataflow would refuse it"),
        ([*OUTPUT, "--set", "run_id=a\n"], "Dataflow would refuse it"),
        (["--set", "output=gs://b/my lake"], "Dataflow would refuse it"),
        ([*OUTPUT, "--image", "celes-beam:1"], "--image celes-beam:1: expected REGION-docker.pkg"),
        ([*OUTPUT, "--image", f"{IMAGE},rows=5"], "expected REGION-docker.pkg.dev"),
        ([*OUTPUT, "--template", "batch.json"], "--template batch.json: expected the file that"),
        ([*OUTPUT, "--region", "us-central1-a"], "--region us-central1-a: a job has a region"),
        ([*OUTPUT, *IN_US, "--subnetwork", "celes"], "--subnetwork celes: expected regions/REGION"),
        (
            [*OUTPUT, *IN_US, "--subnetwork", "regions/europe-west1/subnetworks/s"],
            "is in europe-west1, the job in us-central1",
        ),
        (
            [*OUTPUT, *IN_US, "--dataflow_kms_key", KEY.format("global")],
            "is in global, the job in us-central1",
        ),
        ([*OUTPUT, "--dataflow_kms_key", "mine"], "--dataflow_kms_key mine: expected projects/P"),
        ([*OUTPUT, "--service_account", "ana@x.com"], "no address of a service account"),
        ([*OUTPUT, "--machine_type", "e2-micro"], "shares its cores"),
        (
            [*OUTPUT, "--num_workers", "5", "--max_workers", "2"],
            "--num_workers 5 is more than --max_workers 2",
        ),
    ],
)
def test_what_would_fail_is_refused_before(
    capsys: pytest.CaptureFixture[str], argv: list[str], message: str
) -> None:
    assert main([*RUN, *argv, "--print"]) == 2
    assert message in capsys.readouterr().err
