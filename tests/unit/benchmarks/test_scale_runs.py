"""Whole runs that grow, and requests as they are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.scale_runs import check_sums, grown
from benchmarks.scale_services import graph, kind_of

HOST = "http://127.0.0.1:1234"


def test_runs_grow_and_duckdb_agrees(tmp_path: Path) -> None:
    said: list[str] = []
    wrote, read = grown([20_000], 1, tmp_path, said.append)
    assert (wrote.way, read.way) == ("generate", "aggregate")
    assert wrote.rows == read.rows == 20_000
    assert wrote.total == read.total
    assert read.is_checked
    assert min(wrote.peak_mb, read.peak_mb) > 50
    assert said[-1].endswith("DuckDB's sums are the same")
    assert not list(tmp_path.iterdir())


def test_sums_that_differ_are_told() -> None:
    ours = {
        "by_category": [{"categoria_de_producto": "Ropa", "rows": 2, "total": "3.00"}],
        "by_region": [{"region_de_venta": "Sur", "rows": 2, "total": "3.00"}],
    }
    theirs = {"by_category": [["Ropa", 2, "3.00"]], "by_region": [["Sur", 2, "3.00"]]}
    check_sums(ours, ours, theirs)
    theirs["by_region"] = [["Sur", 2, "3.01"]]
    with pytest.raises(ValueError, match=r"by_region: the run has .* and DuckDB"):
        check_sums(ours, ours, theirs)


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("POST", "/upload/storage/v1/b/x/o?uploadType=multipart", "upload"),
        ("POST", "/upload/storage/v1/b/x/o?uploadType=resumable", "begin an upload"),
        ("PUT", "/upload/storage/v1/b/x/o?uploadType=resumable&upload_id=1", "piece of an upload"),
        ("POST", "/storage/v1/b/x/o/a/rewriteTo/b/x/o/c", "rewrite"),
        ("DELETE", "/storage/v1/b/x/o/a", "delete"),
        ("GET", "/storage/v1/b/x/o?prefix=a", "list"),
        ("GET", "/storage/v1/b/x/o/a?alt=media", "get"),
    ],
)
def test_requests_by_kind(method: str, path: str, kind: str) -> None:
    assert kind_of(method, HOST + path, "http://127.0.0.1:99") == kind


def test_requests_to_bigquery_are_of_one_kind() -> None:
    assert kind_of("GET", f"{HOST}/bigquery/v2/projects/p/jobs/j", HOST) == "BigQuery"


def test_a_graph_grows_with_its_inputs() -> None:
    found = graph()
    assert found.fixed > 5_000
    assert 0 < found.a_shard < 1_000
    assert 0 < found.a_file < 1_000
