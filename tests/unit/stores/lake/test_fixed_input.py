from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.fixed_input import FIXED_INPUT, write_fixed_input
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.lake_input import open_input
from celes_beam.stores.lake.plain_folder import PlainReader
from tests.lakes import commit_sales
from tests.sales import sales_batch

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_committed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, description = str(tmp_path / "lake"), tmp_path / "input.json"
    commit_sales(Lake.open(root), "one", [("Ropa", "a=b/ñ%", 150)])
    found = open_input(root, NOW)
    write_fixed_input(description, found.fixed())
    commit_sales(Lake.open(root), "two", [("Ropa", "Sur", 100)])
    assert open_input(root, NOW).rows == 2

    monkeypatch.setenv(FIXED_INPUT, str(description))

    again = open_input(root, NOW)
    assert again.files == found.files
    assert again.reader == found.reader
    assert (again.rows, again.total) == (found.rows, found.total) == (1, found.total)


def test_a_plain_folder_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, description = tmp_path / "plain", tmp_path / "input.json"
    root.mkdir()
    pq.write_table(pa.Table.from_batches([sales_batch([("Ropa", "Sur", 1)])]), root / "a.parquet")
    found = open_input(str(root), NOW)
    write_fixed_input(description, found.fixed())
    (root / "b.parquet").write_bytes((root / "a.parquet").read_bytes())
    monkeypatch.setenv(FIXED_INPUT, str(description))

    again = open_input(str(root), NOW)

    assert again == found
    assert isinstance(again.reader, PlainReader)


def test_another_input_is_found_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, description = str(tmp_path / "a"), str(tmp_path / "b"), tmp_path / "input.json"
    for root in (one, other):
        commit_sales(Lake.open(root), "one", [("Ropa", "Sur", 150)])
    write_fixed_input(description, open_input(one, NOW).fixed())
    monkeypatch.setenv(FIXED_INPUT, str(description))

    assert open_input(other, NOW).root == other


def test_a_description_that_is_gone_is_no_empty_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FIXED_INPUT, str(tmp_path / "gone.json"))
    with pytest.raises(IntegrityError, match=r"gone\.json cannot be read"):
        open_input(str(tmp_path), NOW)
