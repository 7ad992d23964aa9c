"""The page as text: its figures, its words, and that nothing from data becomes part of it."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Any

import msgspec
import pytest

from celes_beam.contract import REASONS
from celes_beam.errors import MissingProgramError
from celes_beam.report import page as page_module
from celes_beam.report.comparison import Comparison
from celes_beam.report.content import Content, make_content
from celes_beam.report.english import ENGLISH
from celes_beam.report.figures import Gathered, make_figures
from celes_beam.report.page import LANGUAGES, render
from celes_beam.report.spanish import SPANISH
from celes_beam.report.write import write_report
from celes_beam.sales.aggregate import sum_batch
from celes_beam.sales.months import sum_months
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.stores.lake.manifest import InputRecord, RejectedExample
from celes_beam.stores.results.results import make_result
from tests.comparisons import HOSTILE_WHY, comparison
from tests.lakes import Sale, commit_sales, draft, reject
from tests.report_pages import HOSTILE, LONG, Page, check_tables
from tests.sales import sales_batch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MAY, JULY = datetime(2024, 5, 3, tzinfo=UTC), datetime(2024, 7, 31, tzinfo=UTC)
SALES: list[Sale] = [
    (HOSTILE, "Norte & 'Sur'", 123_456_789),
    (LONG, "{{ t.title }} {x} %s", 250),
    ("a=b/c%20d", "</script><!--", 175),
    ("سوق", "Norte & 'Sur'", 1),
]
DATES = [MAY, JULY, MAY, MAY]
EXAMPLES = (
    RejectedExample(
        reason="missing", source="<b>lunes</b>.csv", position=9, column="id_cliente", value="<i>"
    ),
    RejectedExample(reason="missing", source="lunes.csv", position=1234, raw="1,\x00,<img src=x>"),
    RejectedExample(reason="missing", source="lunes.csv", position=0, value="no es <u>gzip</u>"),
)


def content(
    root: Path, sales: Sequence[Sale], compared: Comparison | None = None, **fields: Any
) -> Content:
    commit_sales(Lake.open(str(root)), "uno", sales, **fields)
    return make_content(open_input(str(root), NOW), compared)


@pytest.fixture
def hostile(tmp_path: Path) -> Content:
    lake = Lake.open(str(tmp_path))
    inputs = tuple(
        InputRecord(path=f"<em>{n}</em>.csv", size=9, version="1", rows_read=4, rows_accepted=2)
        for n in range(2)
    )
    run = draft(lake, "uno", SALES, dates=DATES, inputs=inputs, rejected_examples=EXAMPLES)
    lake.commit(reject(lake, run, 4))
    return make_content(open_input(str(tmp_path), NOW), comparison())


@pytest.mark.parametrize("language", ["es", "en"])
def test_tables_hold_the_figures_of_the_json(hostile: Content, language: str) -> None:
    page = Page(render(hostile, language))
    check_tables(page, language)
    assert page.data["figures"] == msgspec.json.decode(msgspec.json.encode(hostile))
    assert page.data["figures"]["sales"]["total"] == "1234572.15"
    shown = {"es": "1.234.572,15", "en": "1,234,572.15"}[language]
    assert shown in page.text


@pytest.mark.parametrize("language", ["es", "en"])
def test_nothing_from_data_becomes_part_of_the_page(hostile: Content, language: str) -> None:
    page = Page(render(hostile, language))
    assert {tag for tag, _ in page.tags}.isdisjoint({"b", "i", "u", "em", "img", "iframe"})
    # Two of data, Vega, and the one that draws.
    assert [tag for tag, _ in page.tags].count("script") == 4
    assert len(page.scripts) == 2
    for text in (HOSTILE, LONG.strip(), "</script><!--", "{{ t.title }} {x} %s", HOSTILE_WHY):
        assert " ".join(text.split()) in page.text
    for text in ("<b>lunes</b>.csv", "1,␀,<img src=x>", "no es <u>gzip</u>", "<em>0</em>.csv"):
        assert text in page.text


def test_only_scripts_of_the_page_may_run_and_nothing_be_fetched(hostile: Content) -> None:
    html = render(hostile, "es")
    page = Page(html)
    (policy,) = [a["content"] for tag, a in page.tags if a.get("http-equiv")]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for script in page.scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    linked = [a.get("src") or a.get("href") for _, a in page.tags if "src" in a or "href" in a]
    assert all(link and link.startswith(("#", "data:")) for link in linked)
    assert len(html.encode()) < 1_500_000


def test_the_page_can_be_read_without_seeing_it(hostile: Content) -> None:
    page = Page(render(hostile, "es"))
    found = [tag for tag, _ in page.tags]
    assert {"header", "nav", "main", "footer", "section"} <= set(found)
    assert found.count("h1") == 1
    assert next(a for tag, a in page.tags if tag == "html") == {"lang": "es"}
    charts = [a for _, a in page.tags if "data-chart" in a]
    assert {c["data-chart"] for c in charts} == set(page.data["charts"]["charts"])
    assert all(c["role"] == "img" and len(c["aria-label"] or "") > 40 for c in charts)
    assert found.count("table") == found.count("caption") == len(page.tables)
    assert all(a.get("scope") in ("row", "col") for tag, a in page.tags if tag == "th")
    skip = next(a for tag, a in page.tags if tag == "a")
    assert (skip["class"], skip["href"]) == ("skip", "#main")
    targets = {a["id"] for _, a in page.tags if "id" in a}
    assert all((a["href"] or "")[1:] in targets for tag, a in page.tags if tag == "a")


def test_the_answer_comes_first_in_the_words_of_its_reader(tmp_path: Path) -> None:
    sales = [("Ropa", "Sur", 300), ("Hogar", "Norte", 100)]
    made = content(tmp_path, sales, dates=[MAY, JULY])
    spanish, english = (Page(render(made, language)).text for language in ("es", "en"))
    assert (
        "La respuesta Ropa es la categoría que más vende: 3,00, el 75,0 % del total. La venta "
        "media más alta es la de Sur: 3,00. El mes con mayor total es may 2024: 3,00."
    ) in spanish
    assert (
        "The answer Ropa is the category that sells most: 3.00, 75.0% of the total. The highest "
        "mean sale is that of Sur: 3.00. The month with the largest total is May 2024: 3.00."
    ) in english
    assert "Leídas 2 = aceptadas 2 + rechazadas 0. Ventas en el lago: 2." in spanish
    assert "ventas del 3 may 2024 al 31 jul 2024" in spanish
    assert "No row was rejected." in english


def test_a_month_without_sales_is_drawn_as_zero(tmp_path: Path) -> None:
    page = Page(render(content(tmp_path, SALES, dates=DATES), "en"))
    spec = page.data["charts"]["charts"]["month-sales"]
    (drawn,) = spec["datasets"].values()
    assert [(m["name"], m["value"]) for m in drawn] == [
        ("May\u00a02024", 3),
        ("Jun\u00a02024", 0),
        ("Jul\u00a02024", 1),
    ]
    assert len(page.tables["by-month"]) == 2


@pytest.mark.parametrize("language", ["es", "en"])
def test_an_empty_lake(tmp_path: Path, language: str) -> None:
    page = Page(render(content(tmp_path, []), language))
    assert LANGUAGES[language].no_rows in page.text
    assert page.data["charts"]["charts"] == {}
    assert page.scripts == []
    assert page.data["figures"]["sales"]["rows"] == 0


def test_one_row(tmp_path: Path) -> None:
    page = Page(render(content(tmp_path, [("Ropa", "Sur", 5)]), "en"))
    check_tables(page, "en")
    alts = {a["aria-label"] for _, a in page.tags if "data-chart" in a}
    assert "Chart of a single value: Ropa, with 0.05." in alts


def test_450_regions(tmp_path: Path) -> None:
    batch = sales_batch([("Ropa", f"Región {n:03}", 100 + n) for n in range(450)])
    figures = make_figures(Gathered(sum_batch(batch), sum_months(batch)))
    made = msgspec.structs.replace(content(tmp_path, SALES[:1]), sales=figures)
    page = Page(render(made, "es"))
    check_tables(page, "es")
    assert len(page.tables["by-region"]) == 450
    assert "El gráfico muestra las 20 primeras de 450." in page.text
    assert len(page.html.encode()) < 1_500_000


def test_engines_side_by_side(hostile: Content) -> None:
    page = Page(render(hostile, "en"))
    assert "The results are not equal; the table of differences says where." in page.text
    assert list(page.tables)[-3:] == ["engines-100000", "engines-1000", "differences"]
    lines = [[text for text, _ in cells] for cells in page.tables["engines-100000"]]
    rows = {line[0].split()[0]: line for line in lines}
    clean = [text.replace("\u00a0", " ") for text in rows["beam"]]
    assert clean[1:] == [
        "done",
        "20.00 s10.00 s – 30.00 s",
        "5.00 s2.50 s – 7.50 s",
        "300.0 MB200.0 MB – 400.0 MB",
        "700.0 kB",
        "equal",
    ]
    assert rows["pandas"][1:] == ["failed", "—", "—", "—", "700.0\u00a0kB", "—"]
    assert (rows["spark"][5], rows["dask"][6]) == ("not known", "differs")
    assert f"pandas, 100,000 rows: failed. {HOSTILE_WHY}" in page.text
    assert "polars, 1,000 rows: not installed. pip install 'celes-beam[bench]'" in page.text
    (difference,) = page.tables["differences"]
    assert [text for text, _ in difference] == [
        "dask",
        "beam",
        "100,000",
        "by_category: Ropa <i>",
        "total",
        "4.26",
        "4.25",
    ]
    charts = page.data["charts"]["charts"]
    assert {"engine-times", "engine-memory", "time-by-rows", "memory-by-rows"} <= set(charts)


def test_engines_that_agree_and_the_lake_they_read(tmp_path: Path) -> None:
    sales = [("Ropa", "Sur", 300)]
    same = make_result("beam", sum_batch(sales_batch(sales)))
    other = make_result("beam", sum_batch(sales_batch([("Ropa", "Sur", 301)])))
    made = content(tmp_path, sales, comparison(agree=True, result=same))
    text = Page(render(made, "es")).text
    assert "Los 4 motores que terminaron dan el mismo resultado, hasta el último céntimo." in text
    assert "otros datos" not in text
    elsewhere = msgspec.structs.replace(made, comparison=comparison(agree=True, result=other))
    text = Page(render(elsewhere, "es")).text
    assert "ninguno de sus resultados tiene su total, 3,00 (filas: 1)." in text


def test_differences_past_the_most_are_counted(hostile: Content) -> None:
    whole = comparison()
    made = msgspec.structs.replace(
        hostile, comparison=msgspec.structs.replace(whole, differences=whole.differences * 1500)
    )
    page = Page(render(made, "es"))
    assert len(page.tables["differences"]) == 200
    assert "Otras diferencias, que no se muestran: 1.300" in page.text
    assert len(page.data["figures"]["comparison"]["differences"]) == 1500


def test_one_engine_alone_is_neither_good_nor_bad(hostile: Content) -> None:
    whole = comparison(agree=True)
    alone = tuple(run for run in whole.runs if run.engine in ("beam", "polars"))
    made = msgspec.structs.replace(hostile, comparison=msgspec.structs.replace(whole, runs=alone))
    page = Page(render(made, "en"))
    assert "Only beam gave a result: there is nothing to hold it against." in page.text
    none = tuple(run for run in whole.runs if run.engine == "polars")
    made = msgspec.structs.replace(hostile, comparison=msgspec.structs.replace(whole, runs=none))
    page = Page(render(made, "en"))
    assert "No engine gave a result." in page.text
    assert "engine-times" not in page.data["charts"]["charts"]
    assert not [a for _, a in page.tags if {"good", "bad"} & set((a.get("class") or "").split())]


def test_both_languages_say_the_same() -> None:
    def blanks(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name}

    for field in dataclasses.fields(SPANISH):
        one, other = getattr(SPANISH, field.name), getattr(ENGLISH, field.name)
        if isinstance(one, str):
            assert one.strip()
            assert blanks(one) == blanks(other), field.name
        elif isinstance(one, dict):
            assert one.keys() == other.keys()
    assert set(SPANISH.reasons) == {str(reason) for reason in REASONS}


def test_no_word_is_there_for_nothing() -> None:
    folder = Path(page_module.__file__).parent
    code = "".join(
        p.read_text()
        for p in folder.rglob("*")
        if p.suffix in (".py", ".jinja") and p.stem not in ("texts", "spanish", "english")
    )
    unused = [
        f.name
        for f in dataclasses.fields(SPANISH)
        if f"t.{f.name}" not in code and f"words.{f.name}" not in code and f'"{f.name}"' not in code
    ]
    assert unused == []


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = content(tmp_path / "lake", [])
    monkeypatch.setattr(page_module, "_NEEDED", ("altair", "no_such_package"))
    with pytest.raises(
        MissingProgramError, match=r"no_such_package: pip install 'celes-beam\[report\]'"
    ):
        write_report(str(tmp_path / "r.html"), made, "es")
    assert not (tmp_path / "r.html").exists()
