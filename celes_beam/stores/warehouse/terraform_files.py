"""The tables and views as files that Terraform reads: ``infra/bigquery/``.

    python -m celes_beam.stores.warehouse.terraform_files infra/bigquery

The sales table is the one that batch and stream share, for a lake that is partitioned by region.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from celes_beam.contract import DATE, REGION
from celes_beam.stores.warehouse.live_table import (
    LIVE_CLUSTERED_BY,
    LIVE_DAY,
    LIVE_DESCRIPTION,
    live_fields,
    live_table_name,
    live_view,
)
from celes_beam.stores.warehouse.schema import (
    CLUSTERED_BY,
    REJECTED_DAY,
    REJECTED_DESCRIPTION,
    TABLE_DESCRIPTION,
    rejected_fields,
    sales_fields,
)
from celes_beam.stores.warehouse.stream_tables import stream_fields, unique_view
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.views import views_of

TABLE = "ventas"
# What `templatefile` of Terraform puts a name in place of.
_TEMPLATE = TableName("${project}", "${dataset}", "${table}")


def terraform_files() -> dict[str, str]:
    """Text of each file by its name: a schema a table, a query a view, and ``tables.json``."""
    rejected = TableName("", "", TABLE).rejected.table
    live = live_table_name(TableName("", "", TABLE)).table
    views = {
        **dict.fromkeys((*views_of(_TEMPLATE), unique_view(_TEMPLATE)), TABLE),
        live_view(_TEMPLATE): live,
    }
    sales = [*sales_fields((REGION,)), *stream_fields(keep_other_fields=True)]
    about = {
        "tables": {
            TABLE: {
                "description": TABLE_DESCRIPTION,
                "partitioned_by": DATE,
                "clustered_by": list(CLUSTERED_BY),
            },
            rejected: {
                "description": REJECTED_DESCRIPTION,
                "partitioned_by": REJECTED_DAY,
                "clustered_by": None,
            },
            live: {
                "description": LIVE_DESCRIPTION,
                "partitioned_by": LIVE_DAY,
                "clustered_by": list(LIVE_CLUSTERED_BY),
            },
        },
        "views": {
            view.name: {"description": view.description, "over": table}
            for view, table in views.items()
        },
    }
    return {
        "tables.json": _text(about),
        f"{TABLE}.schema.json": _schema(sales),
        f"{rejected}.schema.json": _schema(rejected_fields()),
        f"{live}.schema.json": _schema(live_fields()),
        **{f"{view.name}.sql": view.query + "\n" for view in views},
    }


def main(folder: str) -> None:
    """Write the files to a folder, and remove those of views that are no more."""
    files = terraform_files()
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")


def _schema(fields: Sequence[Any]) -> str:
    # In the words that the service answers with: others would be a difference at each plan.
    same = {"INT64": "INTEGER"}
    return _text(
        [
            {
                "name": field.name,
                "type": same.get(field.field_type, field.field_type),
                "mode": field.mode,
                "description": field.description,
            }
            for field in fields
        ]
    )


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
