from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.engine_curves import BEGIN, END, FIGURES, write
from tests.comparisons import comparison
from tests.tools import ROOT, need_module


def test_curves_go_between_the_marks_of_the_page(tmp_path: Path) -> None:
    need_module("vl_convert", "pip install 'celes-beam[report]'")
    page = tmp_path / "engines.md"
    page.write_text(f"before {BEGIN} old {END} after", encoding="utf-8")
    found = comparison(agree=True)

    write(found, tmp_path)

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before {BEGIN}\n\n")
    assert text.endswith(f"\n\n{END} after")
    assert "old" not in text
    header, _, *lines = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in (header, *lines)} == {header.count("|")}
    assert {line.split()[1] for line in lines} == {r.engine for r in found.runs if r.seconds}
    assert any("failed" in line for line in lines)
    for name in FIGURES.values():
        drawing = (tmp_path / "figures" / name).read_text(encoding="utf-8")
        assert ElementTree.fromstring(drawing).tag.endswith("svg")
        assert "var(--" not in drawing


def test_one_size_makes_no_curves(tmp_path: Path) -> None:
    (tmp_path / "engines.md").write_text(f"{BEGIN}{END}", encoding="utf-8")
    found = comparison()
    one = msgspec.structs.replace(found, runs=tuple(r for r in found.runs if r.rows == 1000))

    with pytest.raises(SystemExit, match="two sizes or more"):
        write(one, tmp_path)


def test_the_page_has_the_marks() -> None:
    text = (ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
    assert text.index(BEGIN) < text.index(END)
