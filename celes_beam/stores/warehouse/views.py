"""Views over a table of sales: by category, by region, by day."""

from __future__ import annotations

from dataclasses import dataclass

from celes_beam.contract import AMOUNT, CATEGORY, DATE, REGION
from celes_beam.stores.warehouse.table_name import TableName

_GROUPS = {
    "ventas_por_categoria": (CATEGORY, CATEGORY, "Rows, total and mean of sales by category."),
    "ventas_por_region": (REGION, REGION, "Rows, total and mean of sales by region."),
    "ventas_por_dia": (
        f"DATE({DATE}) AS fecha",
        "fecha",
        "Rows, total and mean of sales by day, UTC.",
    ),
}
VIEW_NAMES = tuple(_GROUPS)


@dataclass(frozen=True)
class View:
    """A view: its short name, query and description."""

    name: str
    query: str
    description: str


def views_of(table: TableName) -> list[View]:
    """The views over a table.

    Each has one row for a group, with ``ventas`` (rows), ``total`` and ``media`` (the mean,
    rounded to 6 decimals).
    """
    return [
        View(
            name,
            f"SELECT {group}, COUNT(*) AS ventas, SUM({AMOUNT}) AS total, "
            f"ROUND(SUM({AMOUNT}) / COUNT(*), 6) AS media FROM `{table.path}` GROUP BY {label}",
            description,
        )
        for name, (group, label, description) in _GROUPS.items()
    ]


def own_name(view: View, table: TableName) -> str:
    """What a view is called when its short name is taken by that of another table."""
    return f"{table.table}_{view.name}"
