from __future__ import annotations

import gzip
import itertools
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import COLUMN_NAMES, MAX_RECORD_BYTES
from celes_beam.errors import ColumnError, ConfigError, InputError
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.stores.inputs import ranges
from celes_beam.stores.inputs.files import InputFile, list_inputs
from celes_beam.stores.inputs.ranges import FileRange, plan_ranges
from celes_beam.stores.inputs.read_options import ReadOptions

HEADER = ",".join(COLUMN_NAMES).encode() + b"\n"
GOOD = b"1,2024-01-31,5.50,Hogar,Norte\n"
SMALL = ReadOptions(range_bytes=100)


def file_of(tmp_path: Path, data: bytes, name: str = "v.csv") -> InputFile:
    path = tmp_path / name
    path.write_bytes(data)
    return list_inputs([str(path)])[0]


def plan(
    tmp_path: Path, data: bytes, how: ReadOptions = SMALL, name: str = "v.csv"
) -> list[FileRange]:
    return plan_ranges(file_of(tmp_path, data, name), how)


def bounds(parts: list[FileRange]) -> list[tuple[int, int]]:
    return [(part.start, part.end) for part in parts]


def test_ranges_begin_and_end_between_records(tmp_path: Path) -> None:
    parts = plan(tmp_path, HEADER + GOOD * 10)
    assert parts[0].start == len(HEADER)
    assert parts[-1].end == len(HEADER) + 10 * len(GOOD)
    assert all(a.end == b.start for a, b in itertools.pairwise(parts))
    assert [(part.end - part.start) // len(GOOD) for part in parts] == [4, 4, 2]
    assert [part.weight for part in parts] == [120, 120, 60]


def test_a_range_is_pickled_small(tmp_path: Path) -> None:
    parts = plan(tmp_path, HEADER + GOOD * 10)
    assert pickle.loads(pickle.dumps(parts)) == parts
    assert len(pickle.dumps(parts[0])) < 1000


def test_a_record_longer_than_a_range_is_in_one(tmp_path: Path) -> None:
    long = GOOD.replace(b"Hogar", b"x" * 1000)
    parts = plan(tmp_path, HEADER + GOOD + long + GOOD * 2)
    start = len(HEADER)
    assert bounds(parts) == [
        (start, start + len(GOOD + long)),
        (start + len(GOOD + long), start + len(GOOD + long) + 60),
    ]


def test_quotes_within_lines_do_not_hinder_splitting(tmp_path: Path) -> None:
    quoted = b'"1",2024-01-31,5.50,"Ho""gar, etc","Norte"\n'
    inches = b'1,2024-01-31,5.50,7" pipe,Norte\n'
    assert len(plan(tmp_path, HEADER + (quoted + inches + GOOD) * 20)) > 10
    assert len(plan(tmp_path, HEADER + GOOD * 20 + quoted[:-1])) > 3


@pytest.mark.parametrize(
    "broken",
    [
        b'1,2024-01-31,5.50,"Ho\ngar",Norte\n',
        b'1,2024-01-31,5.50,"Ho\r\ngar",Norte\n',
        b'1,2024-01-31,5.50,"Hogar,Norte\n',
    ],
)
def test_a_quoted_line_break_makes_one_range_of_the_file(tmp_path: Path, broken: bytes) -> None:
    for data in (broken + GOOD * 20, GOOD * 10 + broken + GOOD * 10, GOOD * 20 + broken):
        assert len(plan(tmp_path, HEADER + data)) == 1
        assert len(plan(tmp_path, HEADER + data[:-1])) == 1


def test_a_line_without_end_makes_one_range_when_quotes_may_matter(tmp_path: Path) -> None:
    long = b"x" * (MAX_RECORD_BYTES * 6) + b"\n"
    parts = plan(tmp_path, HEADER + GOOD + long + GOOD)
    assert bounds(parts) == [(len(HEADER), len(HEADER) + len(GOOD + long + GOOD))]


def test_small_files_are_not_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[InputFile] = []
    monkeypatch.setitem(
        plan_ranges.__globals__,
        "_breaks_only_between_records",
        lambda file, header, start: looked.append(file) or True,
    )
    assert len(plan(tmp_path, HEADER + GOOD * 10, ReadOptions())) == 1
    assert not looked


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"\xef\xbb\xbf", HEADER, HEADER[:-1], b"\n" + HEADER]
)
def test_files_without_rows_have_no_ranges(tmp_path: Path, data: bytes) -> None:
    assert plan(tmp_path, data) == []


def test_empty_files_of_any_name_have_no_rows(tmp_path: Path) -> None:
    for name in ("v", "v.csv", "v.ndjson", "v.parquet", "v.csv.gz"):
        assert plan(tmp_path, b"", name=name) == []


def test_the_header_is_the_first_line_that_is_not_blank(tmp_path: Path) -> None:
    (part,) = plan(tmp_path, b"\xef\xbb\xbf\r\n" + HEADER.replace(b"\n", b"\r\n") + GOOD)
    assert part.start == 5 + len(HEADER) + 1


def test_json_lines_are_split_whatever_quotes_they_hold(tmp_path: Path) -> None:
    parts = plan(tmp_path, b"\xef\xbb\xbf" + b'{"a": "b\\"c"}\n' * 20, name="v.ndjson")
    assert (parts[0].format, parts[0].start, parts[-1].end) == ("ndjson", 3, 3 + 14 * 20)
    assert len(parts) == 3


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("v.txt", HEADER + GOOD, ("csv", None)),
        ("v", HEADER + GOOD, ("csv", None)),
        ("v", b' {"a": 1}\n', ("ndjson", None)),
        ("v.jsonl", b"5\n", ("ndjson", None)),
        ("v.json", b'{"a": 1}\n', ("ndjson", None)),
        ("v.CSV.GZ", gzip.compress(HEADER + GOOD), ("csv", "gzip")),
        ("v.gz", gzip.compress(b'{"a": 1}\n'), ("ndjson", "gzip")),
        ("v.csv", gzip.compress(HEADER + GOOD), ("csv", "gzip")),
        ("v.csv.gz", HEADER + GOOD, ("csv", None)),
        ("v.ndjson.zst", pa.compress(b'{"a": 1}\n', "zstd", asbytes=True), ("ndjson", "zstd")),
    ],
)
def test_formats_are_found_by_name_and_first_bytes(
    tmp_path: Path, name: str, data: bytes, kind: tuple[str, str | None]
) -> None:
    (part,) = plan(tmp_path, data, name=name)
    assert (part.format, part.compression) == kind
    assert part.is_stream == (kind[1] is not None)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("v.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", r"looks binary \(a PNG image\): expected CSV"),
        ("v.csv", b"\1\2\3\4\5", r"looks binary \(no text\): expected CSV"),
        ("v.csv", HEADER.decode().encode("utf-16-le"), r"looks binary \(no text\)"),
        ("v.csv", HEADER + GOOD * 99 + b"\xff\1" * 90, r"looks binary \(no text\)"),
        ("v.csv", HEADER + GOOD * 99 + b"\0" * 90, r"looks binary \(no text\)"),
        ("v.csv.gz", gzip.compress(gzip.compress(GOOD)), r"looks binary \(compressed twice\)"),
        ("v.csv", b'{"id_cliente": 1}\n', "looks like NDJSON .* --format ndjson"),
        ("v.parquet.gz", gzip.compress(b"PAR1 and so on"), "Parquet file within gzip; .* unpack"),
        ("v.gz", gzip.compress(b"PAR1 and so on"), "Parquet file within gzip; .* unpack"),
        ("v.csv", bytes(range(128, 256)) * 10, "looks binary"),
        ("v.xlsx", b"PK\x03\x04 and so on", "Excel workbook"),
        ("v.csv", "id_cliente".encode("utf-16"), "--csv_encoding utf-16"),
        ("v.json", b'[{"a": 1}]', r"a JSON array.* jq -c '\.\[\]'"),
        ("v", b' \n[{"a": 1}]', "a JSON array"),
        ("v.json", b'{\n "a": 1\n}\n', "over several lines"),
        ("v.parquet", HEADER + GOOD, "not a Parquet file"),
        ("v.parquet", b"PAR1 and no more", "damaged or unfinished Parquet"),
        ("v.csv", HEADER[:-1] + b"\r" + GOOD[:-1] + b"\r", "end in CR alone"),
        ("v.csv", b"x" * (MAX_RECORD_BYTES + 5), "no line ends in the first"),
        ("v.csv.gz", gzip.compress(HEADER + GOOD)[:40], "damaged or cut off"),
    ],
)
def test_what_cannot_be_read_is_said_with_a_remedy(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        plan(tmp_path, data, name=name)
    assert str(tmp_path / name) in str(caught.value)


def test_some_stray_bytes_do_not_make_a_file_binary(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    for stray in (b"Ho\0gar", b"Ho\xffgar", b"Ho\1gar"):
        path.write_bytes(HEADER + GOOD * 99 + GOOD.replace(b"Hogar", stray) * 3)
        assert len(plan_ranges(list_inputs([str(path)])[0], ReadOptions())) == 1


def test_a_format_that_is_asked_for_counts(tmp_path: Path) -> None:
    odd = ReadOptions(format="ndjson")
    assert plan(tmp_path, b'{"a": 1}\n', odd)[0].format == "ndjson"
    with pytest.raises(InputError, match="not a Parquet file"):
        plan(tmp_path, HEADER, ReadOptions(format="parquet"))
    pq.write_table(pa.table({"a": [1]}), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="looks binary"):
        plan_ranges(list_inputs([str(tmp_path / "p.parquet")])[0], ReadOptions(format="csv"))


def test_columns_that_are_not_there_are_named_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=r"v\.csv: no column for region_de_venta"):
        plan(tmp_path, HEADER.replace(b"region_de_venta", b"x"))
    pq.write_table(pa.table({name: [1] for name in COLUMN_NAMES[:4]}), tmp_path / "p.parquet")
    with pytest.raises(ColumnError, match=r"p\.parquet: no column for region_de_venta"):
        plan_ranges(list_inputs([str(tmp_path / "p.parquet")])[0], SMALL)


def test_parquet_is_split_between_row_groups(tmp_path: Path) -> None:
    table = pa.table({name: list(range(100)) for name in COLUMN_NAMES})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=10)
    (file,) = list_inputs([str(tmp_path / "p.parquet")])
    parts = plan_ranges(file, ReadOptions(range_bytes=1500))
    assert [part.first_row for part in parts] == [part.start * 10 for part in parts]
    assert len(parts) > 1
    assert (parts[0].start, parts[-1].end) == (0, 10)
    assert sum(part.weight for part in parts) < file.size
    assert len(plan_ranges(file, ReadOptions())) == 1


def test_other_codecs_are_read_as_one_stream(tmp_path: Path) -> None:
    text = (HEADER + GOOD * 10).decode()
    how = ReadOptions(dialect=CsvDialect(encoding="utf-16"), range_bytes=100)
    (part,) = plan(tmp_path, text.encode("utf-16"), how)
    assert (part.is_stream, part.skip) == (True, len(HEADER))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xls"}, "format 'xls': expected one of auto, csv, ndjson, parquet"),
        ({"columns": {"id": "x"}}, "columns id=x: expected COLUMN=HEADER"),
        ({"columns": {"id_cliente": " "}}, "expected COLUMN=HEADER"),
        ({"range_bytes": 0}, "range_bytes=0: expected 1 or more"),
        ({"chunk_bytes": -1}, "chunk_bytes=-1: expected 1 or more"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ReadOptions(**options)


def test_options_are_picklable_and_take_a_mapping() -> None:
    how = ReadOptions(columns={"region_de_venta": "r", "id_cliente": "c"})
    assert pickle.loads(pickle.dumps(how)) == how
    assert how.mapping == {"id_cliente": "c", "region_de_venta": "r"}


def test_a_file_of_a_terabyte_has_a_plan_of_bounded_size(tmp_path: Path) -> None:
    """Holes but for a line feed where it is looked for."""
    size, step = 2**40, 2**28
    path = tmp_path / "v.ndjson"
    with path.open("wb") as sparse:
        sparse.write(b'{"id_cliente": 1}\n' * 5000)
        for at in range(step, size, step):
            sparse.seek(at - 1)
            sparse.write(b"\n")
        sparse.truncate(size)
    parts = plan_ranges(list_inputs([str(path)])[0], ReadOptions())
    assert len(parts) == 4096
    assert {part.end - part.start for part in parts} == {step}
    assert (parts[0].start, parts[-1].end) == (0, size)


def test_very_many_row_groups_have_a_plan_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "_MOST_RANGES", 10)
    table = pa.table({name: list(range(5000)) for name in COLUMN_NAMES})
    pq.write_table(table, tmp_path / "p.parquet", row_group_size=5)
    (file,) = list_inputs([str(tmp_path / "p.parquet")])
    parts = plan_ranges(file, ReadOptions(range_bytes=1))
    assert 1 < len(parts) <= 10
    assert (parts[0].start, parts[-1].end) == (0, 1000)
    assert all(a.end == b.start for a, b in itertools.pairwise(parts))
    assert [part.first_row for part in parts] == [part.start * 5 for part in parts]


def test_ranges_of_a_real_file_cover_each_record_once(tmp_path: Path) -> None:
    """200 MB of lines of many lengths; each range is looked at as bytes."""
    lines = b"".join(
        b"%d,2024-01-31,%d.50,Hogar,Norte\n" % (i, 10 ** (i % 9)) for i in range(50000)
    )
    path = tmp_path / "v.csv"
    with path.open("wb") as file:
        file.write(HEADER)
        for _ in range(200_000_000 // len(lines)):
            file.write(lines)
    parts = plan_ranges(list_inputs([str(path)])[0], ReadOptions())
    assert len(parts) > 40
    assert (parts[0].start, parts[-1].end) == (len(HEADER), path.stat().st_size)
    records = 0
    with path.open("rb") as file:
        for before, part in itertools.pairwise([None, *parts]):
            assert part is not None
            assert before is None or before.end == part.start
            file.seek(part.start - 1)
            assert file.read(1) == b"\n"
            records += file.read(part.end - part.start).count(b"\n")
    assert records == 50000 * (200_000_000 // len(lines))
