"""README.es.md: the commands are those of README.md, and its links lead somewhere."""

from __future__ import annotations

import re

from tests.tools import ROOT

_BLOCK = re.compile(r"^```(?:sh|bash)\n(.*?)^```", re.DOTALL | re.MULTILINE)
ENGLISH = (ROOT / "README.md").read_text(encoding="utf-8")
SPANISH = (ROOT / "README.es.md").read_text(encoding="utf-8")


def test_each_block_of_commands_is_one_of_the_english_readme() -> None:
    theirs = _BLOCK.findall(ENGLISH)
    ours = _BLOCK.findall(SPANISH)
    assert len(ours) > 8
    assert [block for block in ours if block not in theirs] == []
    # In their order, or a tour would use what is not there yet.
    places = [theirs.index(block) for block in ours]
    assert places == sorted(places)


def test_exit_codes_are_the_same() -> None:
    codes = re.compile(r"^\| (\d+) \|", re.MULTILINE)
    assert codes.findall(SPANISH) == codes.findall(ENGLISH)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)", SPANISH)
    assert targets
    assert [one for one in targets if not (ROOT / one).exists()] == []
