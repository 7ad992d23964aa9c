"""The commands of docs/deploy.md are understood, and the pages name what is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
import yaml

from celes_beam import cli
from celes_beam.plan.prices import read_prices
from tests.tools import ROOT

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
