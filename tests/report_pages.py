"""A report read back as its reader sees it: tables of texts, and the figures it embeds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

from celes_beam.report.page import LANGUAGES

HOSTILE = "<script>alert('categoría')</script>"
LONG = "Una categoría de nombre larguísimo " * 4 + "x" * 80


@dataclass
class Page(HTMLParser):
    """What an HTML file holds.

    ``tables`` are rows of the body by the table's id, each cell its text and, where it has one, its
    exact value. ``scripts`` are the contents of scripts, ``data`` those of JSON by their ids.
    """

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    tables: dict[str, list[list[tuple[str, str | None]]]] = field(default_factory=dict)
    scripts: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._table = ""
        self._cell: tuple[str, str | None] | None = None
        self._script: dict[str, str | None] | None = None
        self._in_style = False
        self.feed(self.html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "table":
            self._table = found.get("id") or ""
            self.tables[self._table] = []
        elif tag == "tr" and self._table:
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self._cell = ("", None)
        elif tag == "data" and self._cell:
            self._cell = (self._cell[0], found["value"])
        elif tag == "script":
            self._script = found
        elif tag == "style":
            self._in_style = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell:
            self.tables[self._table][-1].append(self._cell)
            self._cell = None
        elif tag == "table":
            del self.tables[self._table][0]
            self._table = ""
        elif tag == "script":
            self._script = None
        elif tag == "style":
            self._in_style = False

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            if self._script.get("type") == "application/json":
                self.data[self._script["id"] or ""] = json.loads(data)
            else:
                self.scripts.append(data)
        elif not self._in_style:
            self.texts.append(data)
            if self._cell:
                self._cell = (self._cell[0] + data, self._cell[1])

    @property
    def text(self) -> str:
        """All that is read, with single spaces."""
        return " ".join("".join(self.texts).split())


def check_tables(page: Page, language: str) -> None:
    """The tables of the answer hold the figures of the JSON, in its order, written as is usual."""
    form = LANGUAGES[language].form
    sales = page.data["figures"]["sales"]

    def plain(text: str) -> Decimal:
        bare = text.replace(form.thousands, "").replace(form.percent, "")
        return Decimal(bare.replace(form.decimal, "."))

    for table, rows, name, columns in (
        ("by-category", sales["by_category"], "categoria_de_producto", ("rows", "total", "share")),
        ("by-region", sales["by_region"], "region_de_venta", ("mean", "rows", "total")),
        ("by-month", sales["by_month"], "month", ("rows", "total", "mean")),
    ):
        assert len(page.tables[table]) == len(rows) > 0
        for cells, row in zip(page.tables[table], rows, strict=True):
            expected = form.month(row[name]) if name == "month" else row[name]
            assert cells[0][0] == expected
            assert [exact for _, exact in cells[1:]] == [str(row[c]) for c in columns]
            for (shown, _), column in zip(cells[1:], columns, strict=True):
                exact = Decimal(str(row[column]))
                exact, digits = (exact * 100, 1) if column == "share" else (exact, 2)
                # Sums are shown whole; means and shares to so many digits.
                limit = 0 if column in ("rows", "total") else Decimal(5).scaleb(-digits - 1)
                assert abs(plain(shown) - exact) <= limit
