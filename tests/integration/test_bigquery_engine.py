"""What BigQuery itself answers about a table, for a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, REGION
from celes_beam.engines import bigquery
from celes_beam.errors import InputError, UsageError
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, bigquery_client
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.warehouse import Warehouse
from tests.answers import answer, as_json, commit_rows, in_order
from tests.jobs.cases import sales
from tests.jobs.cases import without_engine as but_for_engine


@pytest.mark.parametrize("column", [AMOUNT, DATE, ID])
def test_it_is_the_answer_of_every_engine(dataset: str, tmp_path: Path, column: str) -> None:
    rows = sales(60)
    lake, table, told = commit_rows(tmp_path / "lake", rows), f"{dataset}.ventas", tmp_path / "s"
    Warehouse(Destination(parse_table_name(table)), lake).load()
    asked = ["--bigquery_table", table, "--sort_by", column, "--descending", "--top", "20"]

    summary = bigquery.run([*asked, "--summary_json", str(told)])

    first = in_order(rows, column, descending=True)[:20]
    assert but_for_engine(summary.result) == answer(rows) | {"top": [as_json(r) for r in first]}
    assert summary.seconds > 0
    written = json.loads(told.read_text())
    assert written == {
        **summary.result.to_dict(),
        "table": table,
        "seconds": round(summary.seconds, 3),
    }
    assert written["engine"] == "bigquery"


def test_a_table_that_is_not_there_is_one_line(dataset: str) -> None:
    with pytest.raises(UsageError, match=r"cannot ask table .*: not found"):
        bigquery.run(["--bigquery_table", f"{dataset}.ventas"])


def test_rows_that_no_lake_has_are_no_sales(dataset: str) -> None:
    client = bigquery_client(LOCAL_PROJECT)
    name = dataset.replace(":", ".")
    client.create_dataset(name)
    kinds = f"{CATEGORY} STRING, {REGION} STRING, {AMOUNT} NUMERIC"
    client.query(f"CREATE TABLE `{name}.ventas` ({kinds})").result()
    client.query(f"INSERT INTO `{name}.ventas` VALUES ('Ropa', 'Sur', NULL)").result()
    with pytest.raises(InputError, match=f"rows without a value in {AMOUNT}, which no lake has"):
        bigquery.run(["--bigquery_table", f"{dataset}.ventas"])
    client.query(f"INSERT INTO `{name}.ventas` VALUES (NULL, 'Sur', 1)").result()
    with pytest.raises(InputError, match=f"rows without a value in ({AMOUNT}|{CATEGORY})"):
        bigquery.run(["--bigquery_table", f"{dataset}.ventas"])
