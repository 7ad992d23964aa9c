"""The commands of docs/deploy.md are understood, and the pages name what is there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from celes_beam import __version__, cli
from celes_beam.plan.prices import read_prices
from tests.cloud import INSTALL_SDK
from tests.tools import ROOT, need_tool

PAGE = ROOT / "docs" / "deploy.md"
_BLOCK = re.compile(r"^```bash\n(.*?)^```", re.DOTALL | re.MULTILINE)
_VARIABLES = {
    "PROJECT": "my-sales-1234",
    "REGION": "us-central1",
    "VERSION": "0.1.0",
    "IMAGE": "us-central1-docker.pkg.dev/my-sales-1234/celes-beam/celes-beam:0.1.0",
}


def commands(program: str) -> Iterator[list[str]]:
    for block in _BLOCK.findall(PAGE.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            filled = re.sub(r"\$(\w+)", lambda found: _VARIABLES.get(found[1], "?"), line)
            words = shlex.split(filled, comments=True)
            if words[:2] == ["celes-beam", program]:
                yield words[1:]


@pytest.mark.parametrize(
    ("program", "more"), [("plan", ["--offline"]), ("deploy", ["--print"]), ("looker", [])]
)
def test_commands_are_understood(
    program: str,
    more: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    found = list(commands(program))
    assert found
    for words in found:
        revision = ["--revision", "abc"] if words[:2] == ["deploy", "build"] else []
        code = cli.main([*words, *more, *revision])
        assert code == 0, (words, capsys.readouterr().err)
        assert capsys.readouterr().out


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """All blocks in one shell, with stand-ins of all programs; what was called."""
    tmp_path = tmp_path_factory.mktemp("page")
    blocks = _BLOCK.findall(PAGE.read_text())
    assert len(blocks) > 10
    place, log = tmp_path / "bin", tmp_path / "calls"
    place.mkdir()
    for name in ("bq", "celes-beam", "docker", "gcloud", "git", "python", "terraform"):
        program = place / name
        told = "echo 123456" if name in ("gcloud", "git") else ":"
        program.write_text(
            f"#!/bin/sh\n(printf '%s\\0' {name} \"$@\"; echo) >> {shlex.quote(str(log))}\n{told}\n"
        )
        program.chmod(0o755)
    work = tmp_path / "my repository"
    (work / "infra").mkdir(parents=True)
    shutil.copy(ROOT / "infra" / "terraform.tfvars.example", work / "infra")

    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        cwd=work,
        env={"PATH": f"{place}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    variables = (work / "infra" / "terraform.tfvars").read_text()
    for line in ('project_number = "123456"', 'launchers    = ["user:123456"]', "us-central1"):
        assert line in variables
    assert "example.com" not in re.sub(r"^#.*", "", variables, flags=re.MULTILINE)
    assert variables.endswith('image_version = "0.1.0"\nstreaming     = true\n')
    return [line.split("\0")[:-1] for line in log.read_text().splitlines()]


def test_every_block_runs_in_a_shell_one_after_another(calls: list[list[str]]) -> None:
    """No variable is missing, and nothing is quoted wrongly."""
    pushed = {call[4] for call in calls if call[1:3] == ["deploy", "build"]}
    assert {image.partition(":")[2] for image in pushed} == {__version__}
    # What infra/ gives a job at its start, an update of it has from the template.
    variables = (ROOT / "infra" / "variables.tf").read_text()
    told = next(call for call in calls if call[1:4] == ["deploy", "template", "all"])
    for flag, variable in (("machine_type", "worker_machine_type"), ("max_workers", "max_workers")):
        default = re.search(rf'variable "{variable}".*?default += "?([\w-]+)', variables, re.DOTALL)
        assert default is not None
        assert told[told.index(f"--{flag}") + 1] == default[1]
    # Where infra/ looks for them.
    folders = {call[call.index("--to") + 1] for call in calls if "--to" in call}
    assert folders == {f"gs://my-sales-1234-celes-staging/templates/{__version__}"}
    assert ["docker", "run"] in [call[:2] for call in calls]
    granted = [call for call in calls if call[1:3] == ["projects", "add-iam-policy-binding"]]
    assert len(granted) > 10
    assert {call[3] for call in granted} == {"my-sales-1234"}
    for word in (word for call in calls for word in call):
        assert word
        assert not re.search(r"[$…]|//.*//|=$|:$", word), word


def test_the_real_gcloud_knows_its_commands_and_flags(
    calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gcloud = need_tool("gcloud", INSTALL_SDK)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("CLOUDSDK_CORE_DISABLE_PROMPTS", "1")
    asked = sorted({shlex.join(call) for call in calls if call[0] == "gcloud"})
    wrong = "gcloud scheduler jobs run celes-batch --zone us-central1"
    listed = tmp_path / "commands.json"
    listed.write_text(json.dumps([{"command_string": one} for one in (*asked, wrong)]))

    said = subprocess.run(
        [gcloud, "meta", "lint-gcloud-commands", f"--commands-file={listed}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    *found, of_wrong = [one["error_message"] for one in json.loads(said)]
    assert "unrecognized arguments: --zone" in of_wrong
    assert dict(zip(asked, found, strict=True)) == dict.fromkeys(asked)


def test_links_lead_somewhere() -> None:
    for page in ("deploy", "cost", "looker"):
        text = (ROOT / "docs" / f"{page}.md").read_text()
        anchors = {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in anchors, (page, target)
            elif not target.startswith("https://"):
                place = ROOT / "docs" / target.partition("#")[0]
                assert place.exists(), (page, target)


def test_variables_of_the_workflows_are_told() -> None:
    told = PAGE.read_text()
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for name in re.findall(r"vars\.(\w+)", path.read_text()):
            assert f"`{name}`" in told, name
        assert f"| `{yaml.safe_load(path.read_text())['name']}` |" in told


def test_what_is_supposed_is_explained() -> None:
    told = (ROOT / "docs" / "cost.md").read_text()
    for name in type(read_prices(None).supposed).__struct_fields__:
        if name != "month_hours":
            assert f"`{name}`" in told or f"`--{name}`" in told, name
