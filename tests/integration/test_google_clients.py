"""Google's own command lines reach the local servers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cloud import bq, gcloud


def test_gcloud_lists_and_copies_objects(bucket: Any, tmp_path: Path) -> None:
    bucket.blob("in/a.csv").upload_from_string(b"one")
    url = f"gs://{bucket.name}/in/a.csv"
    assert gcloud("storage", "ls", f"gs://{bucket.name}/in").split() == [url]
    gcloud("storage", "cp", url, str(tmp_path / "a.csv"))
    assert (tmp_path / "a.csv").read_bytes() == b"one"


@pytest.mark.usefixtures("dataset")
def test_bq_answers_queries() -> None:
    sql = "SELECT 1 + 1 AS n"
    assert bq("--format=csv", "query", "--nouse_legacy_sql", sql).split() == ["n", "2"]
