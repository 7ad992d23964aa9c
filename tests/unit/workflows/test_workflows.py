"""Workflows of GitHub and Cloud Build: right in form, pinned, and without keys."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celes_beam import __version__, cli
from tests.tools import ROOT, need_tool

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
CLOUD_BUILD = ROOT / "cloudbuild.yaml"
_PINNED = re.compile(r"[\w.-]+/[\w.-]+@v\d+\.\d+\.\d+")
_SAFE_IN_SHELL = re.compile(r"\$\{\{(?!\s*(runner|github\.workspace)\b)")


def _actionlint() -> str:
    return need_tool("actionlint", "make tools")


def _lint(*paths: Path) -> subprocess.CompletedProcess[str]:
    # Without shellcheck and pyflakes, so that it says the same on every machine.
    command = [_actionlint(), "-shellcheck=", "-pyflakes=", "-no-color", *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def _steps(path: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        yield from job["steps"]


def test_there_are_those_that_the_docs_name() -> None:
    assert [path.stem for path in WORKFLOWS] == ["image", "template", "terraform", "test"]


def test_actionlint_finds_nothing() -> None:
    done = _lint(*WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_finds_a_planted_mistake(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    text = (FOLDER / "template.yml").read_text()
    wrong.write_text(text.replace("inputs.version", "inputs.verson"))
    assert 'property "verson" is not defined' in _lint(wrong).stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_and_rights_are_few(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    for job in content["jobs"].values():
        asked = job.get("permissions", {})
        assert asked in ({}, {"contents": "read", "id-token": "write"})
        acts = any("google-github-actions/auth" in step.get("uses", "") for step in job["steps"])
        assert ("id-token" in asked) is acts
        # Google believes the main branch alone.
        assert not acts or "github.ref == 'refs/heads/main'" in job["if"]
        assert job["timeout-minutes"] <= 90
    for step in _steps(path):
        if "uses" in step:
            assert _PINNED.fullmatch(step["uses"]), step["uses"]
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_keys_and_no_text_of_others_in_a_shell(path: Path) -> None:
    text = path.read_text()
    assert "secrets." not in text
    assert "credentials_json" not in text
    for step in _steps(path):
        assert not _SAFE_IN_SHELL.search(step.get("run", "")), step


def _our_commands(path: Path) -> Iterator[list[str]]:
    for step in _steps(path):
        for line in step.get("run", "").replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            if words and words[0].endswith("celes-beam"):
                yield words[1:]


@pytest.mark.parametrize("name", ["image", "template"])
def test_our_commands_are_understood(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    found = list(_our_commands(FOLDER / f"{name}.yml"))
    assert found
    for words in found:
        given = [
            word.replace("$image", "r/p/c/i:1").replace("$REGION", "europe-west1") for word in words
        ]
        given = [word.replace("$PROJECT", "p").replace("$VERSION", "1") for word in given]
        more = ["--print", *(["--revision", "abc"] if "build" in given else [])]
        assert cli.main([*given, *more]) == 0, words
        assert capsys.readouterr().out


def test_cloud_build_is_a_build() -> None:
    from google.cloud.devtools.cloudbuild_v1.types import Build
    from google.protobuf import json_format

    content = yaml.safe_load(CLOUD_BUILD.read_text())
    build = json_format.ParseDict(content, Build.pb(Build()))
    assert [step.id for step in build.steps] == ["build", "templates", "push", "upload"]
    assert content["substitutions"]["_VERSION"] == __version__
    # A step pushes, before the templates are there; `images` would push the same tag once more.
    assert "images" not in content
    known = {*content["substitutions"], "PROJECT_ID"}
    assert set(re.findall(r"\$\{(\w+)\}", CLOUD_BUILD.read_text())) <= known
    assert set(content["substitutions"]) <= set(re.findall(r"\$\{(\w+)\}", CLOUD_BUILD.read_text()))


def test_cloud_build_makes_templates_as_the_workflow_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (step,) = (
        one for one in yaml.safe_load(CLOUD_BUILD.read_text())["steps"] if one["id"] == "templates"
    )
    values = {
        "PROJECT_ID": "p",
        "_REGION": "europe-west1",
        "_IMAGE": "r/p/c/i:1",
        "_STAGING": "gs://p-s",
    }
    given = [re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], arg) for arg in step["args"]]
    assert cli.main([*given, "--print"]) == 0
    assert "gs://p-s/temp" in capsys.readouterr().out
    (by_workflow,) = _our_commands(FOLDER / "template.yml")
    # A folder for each version, where infra/ looks for them.
    assert by_workflow[by_workflow.index("--to") + 1].endswith("-staging/templates/$VERSION")
    assert "${_STAGING}/templates/${_VERSION}/" in CLOUD_BUILD.read_text()
    flags = {word for word in by_workflow if word.startswith("--")} - {"--to"}
    assert {arg.partition("=")[0] for arg in step["args"] if arg[:2] == "--"} == flags | {
        "--folder"
    }
