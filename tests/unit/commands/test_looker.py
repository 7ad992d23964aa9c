"""The link of ``celes-beam looker``."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from celes_beam import cli
from celes_beam.contract import COLUMN_NAMES
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.views import VIEW_NAMES, own_name, views_of

TABLE = "mi-tienda:ventas.ventas"


def link(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, str]:
    assert cli.main(("looker", "--bigquery_table", TABLE, *flags)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    url = urlsplit(out.strip())
    assert url.geturl().startswith("https://lookerstudio.google.com/reporting/create?")
    asked = parse_qsl(url.query, strict_parsing=True)
    assert len(dict(asked)) == len(asked)
    return dict(asked)


def test_a_new_report_has_the_views(capsys: pytest.CaptureFixture[str]) -> None:
    asked = link(capsys)
    assert asked["c.mode"] == "edit"
    assert asked["r.reportName"] == "Ventas"
    assert asked["ds.ds0.connector"] == "bigQuery"
    assert asked["ds.ds0.type"] == "TABLE"
    assert asked["ds.ds0.projectId"] == asked["ds.ds0.billingProjectId"] == "mi-tienda"
    assert asked["ds.ds0.datasourceName"] == "Ventas por día"
    tables = [asked[f"ds.ds{number}.tableId"] for number in range(3)]
    assert sorted(tables) == sorted(VIEW_NAMES)
    assert "ds.ds3.tableId" not in asked


def test_a_template_is_told_by_aliases(capsys: pytest.CaptureFixture[str]) -> None:
    report = "ca5902da-ad31-4b34-93f8-98ec5f3ad950"
    asked = link(capsys, "--report", report, "--view", "--billing_project", "pagos")
    assert asked["c.reportId"] == report
    assert asked["c.mode"] == "view"
    assert asked["ds.por_region.tableId"] == "ventas_por_region"
    assert asked["ds.ventas.tableId"] == "ventas"
    assert asked["ds.ventas.billingProjectId"] == "pagos"


def test_sources_are_chosen_in_their_order(capsys: pytest.CaptureFixture[str]) -> None:
    asked = link(capsys, "--source", "ventas", "--source", "por_region", "--source", "ventas")
    assert asked["ds.ds0.tableId"] == "ventas"
    assert asked["ds.ds1.tableId"] == "ventas_por_region"
    assert "ds.ds2.tableId" not in asked


def test_views_of_a_second_table_have_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("looker", "--bigquery_table", TABLE, "--own_views", "--json")
    assert cli.main(flags) == 0
    told = json.loads(capsys.readouterr().out)
    table = parse_table_name(TABLE)
    expected = {f"mi-tienda.ventas.{own_name(view, table)}" for view in views_of(table)}
    assert set(told["sources"].values()) == expected


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--source", "por_mes"), "expected one of por_dia"),
        (("--report", "a b"), "expected the id of a report"),
        (("--name", " "), "--name is empty"),
        (("--billing_project", "My Project"), "expected the id of a project"),
    ],
)
def test_one_line_for_what_cannot_be(
    capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], said: str
) -> None:
    assert cli.main(("looker", "--bigquery_table", TABLE, *flags)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_the_page_defines_every_field() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "looker.md").read_text()
    fields = {"fecha", "ventas", "total", "media", *COLUMN_NAMES}
    for name in (*fields, *VIEW_NAMES):
        assert f"`{name}`" in page, name
