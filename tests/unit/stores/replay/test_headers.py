"""Headers of the files that rejected rows came from: found, given, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import ColumnError, ConfigError
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.stores.inputs.read_options import ReadOptions
from celes_beam.stores.replay.headers import Headers
from tests.rejected import rejected_rows

LINE = ",".join(COLUMN_NAMES)


def looked_at(headers: Headers, source: Path | str, raw: bytes, **row: Any) -> Any:
    batch = rejected_rows({"source": str(source), "raw": raw, **row})
    headers.look_at(batch)
    return headers.found.get(str(source))


def test_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(LINE.replace(",", ";") + "\n1;2\n", encoding="utf-8")
    header = looked_at(Headers(ReadOptions()), path, b"1;2", position=len(LINE) + 1)
    assert (header.delimiter, header.fields) == (";", 5)


def test_json_has_none(tmp_path: Path) -> None:
    headers = Headers(ReadOptions())
    for source in ("pubsub:s/1", tmp_path / "a.ndjson", tmp_path / "a.parquet", tmp_path / "b.csv"):
        assert looked_at(headers, source, b'{"id_cliente": 0}') is None
    there = tmp_path / "c.dat"
    there.write_text('{"id_cliente": 0}\nnot JSON\n', encoding="utf-8")
    assert looked_at(headers, there, b"not JSON", position=18) is None


def test_the_given_one_is_for_files_of_csv(tmp_path: Path) -> None:
    headers = Headers(ReadOptions(dialect=CsvDialect(encoding="latin-1")), f"año,{LINE}")
    header = looked_at(headers, tmp_path / "a.csv", b"x")
    assert (header.fields, header.places[0], header.encoding) == (6, 1, "iso8859-1")
    assert looked_at(headers, tmp_path / "a.ndjson", b"x") is None
    assert looked_at(Headers(ReadOptions(format="ndjson"), LINE), tmp_path / "a.csv", b"x") is None


def test_without_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--csv_header .*or --format ndjson if they are JSON"):
        looked_at(Headers(ReadOptions()), tmp_path / "a.dat", b"x")
    how = ReadOptions(dialect=CsvDialect(encoding="latin-1"))
    with pytest.raises(ConfigError, match="cannot be written in --csv_encoding"):
        looked_at(Headers(how, "€"), tmp_path / "a.csv", b"x")


def test_a_column_that_goes_by_another_name_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(LINE.replace("id_cliente", "cliente") + "\nx\n", encoding="utf-8")
    with pytest.raises(ColumnError, match="perhaps --columns id_cliente=cliente"):
        looked_at(Headers(ReadOptions()), path, b"x", position=len(LINE) - 2)
