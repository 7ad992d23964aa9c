"""The files that Terraform reads about tables and views say what the pipeline makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from celes_beam.contract import REGION
from celes_beam.stores.warehouse.live_table import live_table, live_table_name, live_view
from celes_beam.stores.warehouse.schema import rejected_table, sales_table
from celes_beam.stores.warehouse.shape import check_fits
from celes_beam.stores.warehouse.stream_tables import stream_fields, unique_view
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.tables import _owner
from celes_beam.stores.warehouse.terraform_files import main, terraform_files
from celes_beam.stores.warehouse.views import views_of
from tests.infra.terraform import INFRA, Planned

NAME = TableName("my-sales-1234", "ventas", "ventas")
LIVE = live_table_name(NAME)
FOLDER = INFRA / "bigquery"


def test_files_are_those_of_the_contract() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert there == terraform_files(), (
        "run: python -m celes_beam.stores.warehouse.terraform_files infra/bigquery"
    )


def test_files_of_what_is_no_more_are_removed(tmp_path: Path) -> None:
    (tmp_path / "ventas_de_ayer.sql").write_text("SELECT 1")
    main(str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == set(terraform_files())


@pytest.mark.infra
def test_pipelines_take_the_tables_for_their_own(planned: list[Planned]) -> None:
    from google.cloud import bigquery

    found = {r.values["table_id"]: r.values for r in planned if r.kind == "google_bigquery_table"}
    wanted = sales_table(NAME, (REGION,), None)
    wanted.schema = [*wanted.schema, *stream_fields(keep_other_fields=True)]
    for ours in (wanted, rejected_table(NAME.rejected, None), live_table(LIVE, None)):
        planned_table = found[ours.table_id]
        fields = json.loads(planned_table["schema"])
        there = bigquery.Table(
            ours.reference, [bigquery.SchemaField.from_api_repr(field) for field in fields]
        )
        check_fits(NAME.beside(ours.table_id), there, ours.schema, None)
        assert [(f.name, f.mode) for f in there.schema] == [(f.name, f.mode) for f in ours.schema]
        (partitioning,) = planned_table["time_partitioning"]
        assert partitioning["field"] == ours.time_partitioning.field
        assert planned_table["clustering"] == ours.clustering_fields
        assert planned_table["description"] == ours.description


@pytest.mark.infra
def test_pipelines_take_the_views_for_their_own(planned: list[Planned]) -> None:
    views = {
        r.values["table_id"]: r.values
        for r in planned
        if r.kind == "google_bigquery_table" and r.values["view"]
    }
    owners = dict.fromkeys((*views_of(NAME), unique_view(NAME)), NAME) | {live_view(LIVE): LIVE}
    ours = {view.name: view for view in owners}
    assert set(views) == set(ours)
    for name, view in views.items():
        assert view["view"][0]["query"].strip() == ours[name].query
        assert view["description"] == ours[name].description
        assert view["labels"]["celes_table"] == _owner(owners[ours[name]])
