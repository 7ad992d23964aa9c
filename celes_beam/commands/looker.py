"""``celes-beam looker``: the link that opens a new Looker Studio report on the table's views.

By the Linking API of Looker Studio: a URL says which data sources a report has, and whoever opens
it sees the data that they themselves may read in BigQuery.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from celes_beam.errors import ConfigError

if TYPE_CHECKING:
    from celes_beam.stores.warehouse.table_name import TableName

_CREATE = "https://lookerstudio.google.com/reporting/create"
_ALIAS = re.compile(r"\w{1,64}", re.ASCII)
_REPORT_ID = re.compile(r"[0-9a-zA-Z_-]{8,64}")
_PROJECT = re.compile(r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{0,29}")
TABLE_SOURCE = "ventas"

_DESCRIPTION = """\
Print the link that makes a Looker Studio report on a table of sales and its three views. Nothing is
made before the link is opened and the report is saved. Without --report the report is new, with the
first source as a table; with it, your own report is the template, and its data sources are replaced
by their aliases. Fields: docs/looker.md.
"""


@dataclass(frozen=True)
class DataSource:
    """A table or view as a data source; ``alias`` is its name in the template report."""

    alias: str
    project: str
    dataset: str
    table: str
    title: str


def add_looker_command(groups: argparse._SubParsersAction[Any]) -> None:
    """Add ``looker`` to the command line."""
    command = groups.add_parser(
        "looker",
        help="print the link that opens a Looker Studio report on the table and its views",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--bigquery_table",
        required=True,
        metavar="PROJECT:DATASET.TABLE",
        help="table that a run loads",
    )
    command.add_argument(
        "--source",
        action="append",
        metavar="ALIAS",
        help="only this one of ventas, por_dia, por_region, por_categoria; repeatable, the first "
        "is what a new report shows (default: all but ventas without --report, all with it)",
    )
    command.add_argument(
        "--own_views",
        action="store_true",
        help="the views are called <table>_ventas_por_…, another table of the dataset having the "
        "short names",
    )
    command.add_argument("--report", metavar="ID", help="report of yours that is the template")
    command.add_argument("--name", default="Ventas", help="name of the report")
    command.add_argument(
        "--billing_project",
        metavar="P",
        help="project that pays for queries (default: the table's)",
    )
    command.add_argument("--view", action="store_true", help="open it to look at, not to edit")
    command.add_argument("--json", action="store_true", help="print link and data sources as JSON")
    command.set_defaults(run=_looker)


def data_sources(table: TableName, *, own_views: bool = False) -> list[DataSource]:
    """The views over a table and then the table itself, with titles in Spanish, as its fields."""
    from celes_beam.stores.warehouse.views import own_name, views_of  # noqa: PLC0415

    titles = {
        "por_dia": "Ventas por día",
        "por_region": "Ventas por región",
        "por_categoria": "Ventas por categoría",
    }
    sources = {}
    for view in views_of(table):
        alias = view.name.removeprefix("ventas_")
        name = own_name(view, table) if own_views else view.name
        sources[alias] = DataSource(alias, table.project, table.dataset, name, titles[alias])
    whole = DataSource(TABLE_SOURCE, table.project, table.dataset, table.table, "Ventas")
    return [*(sources[alias] for alias in titles), whole]


def report_link(
    sources: list[DataSource],
    *,
    name: str,
    report: str | None = None,
    billing_project: str | None = None,
    edit: bool = True,
) -> str:
    """The URL of the Linking API for a report on data sources.

    Without a template the aliases are ds0, ds1, …, as a new report has them.
    """
    asked = {"c.mode": "edit" if edit else "view"}
    if report is not None:
        asked["c.reportId"] = report
    asked["r.reportName"] = name
    for number, source in enumerate(sources):
        alias = source.alias if report is not None else f"ds{number}"
        told = {
            "connector": "bigQuery",
            "type": "TABLE",
            "datasourceName": source.title,
            "projectId": source.project,
            "datasetId": source.dataset,
            "tableId": source.table,
            "billingProjectId": billing_project or source.project,
            # Fields are read from the view anew, whatever the template had.
            "refreshFields": "true",
        }
        asked.update({f"ds.{alias}.{key}": value for key, value in told.items()})
    return f"{_CREATE}?{urlencode(asked)}"


def _looker(flags: argparse.Namespace) -> int:
    from celes_beam.stores.warehouse.table_name import parse_table_name  # noqa: PLC0415

    table = parse_table_name(flags.bigquery_table)
    if flags.report is not None and not _REPORT_ID.fullmatch(flags.report):
        raise ConfigError(
            f"--report {flags.report}: expected the id of a report, which stands behind "
            "/reporting/ in its URL"
        )
    if not flags.name.strip():
        raise ConfigError("--name is empty: expected the name of the report, such as Ventas")
    if flags.billing_project is not None and not _PROJECT.fullmatch(flags.billing_project):
        raise ConfigError(
            f"--billing_project {flags.billing_project}: expected the id of a project, which has "
            "a-z, 0-9 and -; gcloud projects list tells it"
        )
    sources = _chosen(data_sources(table, own_views=flags.own_views), flags)
    link = report_link(
        sources,
        name=flags.name,
        report=flags.report,
        billing_project=flags.billing_project,
        edit=not flags.view,
    )
    if flags.json:
        tables = {one.alias: f"{one.project}.{one.dataset}.{one.table}" for one in sources}
        print(json.dumps({"url": link, "sources": tables}, ensure_ascii=False, indent=2))
    else:
        print(link)
    return 0


def _chosen(known: list[DataSource], flags: argparse.Namespace) -> list[DataSource]:
    by_alias = {source.alias: source for source in known}
    if not flags.source:
        return [one for one in known if flags.report is not None or one.alias != TABLE_SOURCE]
    for alias in flags.source:
        if not _ALIAS.fullmatch(alias) or alias not in by_alias:
            raise ConfigError(f"--source {alias}: expected one of {', '.join(by_alias)}")
    return [by_alias[alias] for alias in dict.fromkeys(flags.source)]
