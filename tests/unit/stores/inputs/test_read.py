from __future__ import annotations

import bz2
import csv
import dataclasses
import gzip
import io
import json
import os
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import COLUMN_NAMES, MAX_RAW_BYTES, MAX_RECORD_BYTES, Reason
from celes_beam.errors import InputError
from celes_beam.sales import decode_csv, ndjson_lines, record_ends, records
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.sales.rejected import Checked
from celes_beam.sales.texts import Notation
from celes_beam.sales.transform import Transform
from celes_beam.stores.inputs import ranges, text_blocks
from celes_beam.stores.inputs.files import InputFile, list_inputs
from celes_beam.stores.inputs.ranges import FileRange, plan_ranges
from celes_beam.stores.inputs.read import ReadOptions, read_range
from tests.sales import RULES

HEADER = ",".join(COLUMN_NAMES).encode() + b"\n"
GOOD = b"1,2024-01-31,5.50,Hogar,Norte\n"
SAME = Transform("tests.hooks:same")
Rejected = tuple[int, list[str], str | None, str | None, bytes]


def read_parts(
    parts: list[FileRange], how: ReadOptions
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    accepted: list[dict[str, Any]] = []
    rejected: list[Rejected] = []
    for part in parts:
        for found in read_range(part, how, RULES):
            assert found.rows
            accepted += found.accepted.to_pylist()
            rejected += [
                (r["position"], r["reasons"], r["column"], r["value"], r["raw"])
                for r in found.rejected.to_pylist()
            ]
    return accepted, rejected


def read(
    tmp_path: Path, data: bytes, how: ReadOptions | None = None, name: str = "v.csv"
) -> tuple[list[dict[str, Any]], list[Rejected]]:
    path = tmp_path / name
    path.write_bytes(data)
    how = how or ReadOptions()
    (file,) = list_inputs([str(path)])
    return read_parts(plan_ranges(file, how), how)


def malformed(position: int, raw: bytes) -> Rejected:
    return (position, ["malformed"], None, None, raw)


fields = [
    st.sampled_from([b"1", b'"22"', b"", b"x", b"0x1"]),
    st.sampled_from([b"2024-01-31", b'"2024-01-31"', b"2024-01-31T10:00Z", b"ayer"]),
    st.sampled_from([b"5.50", b"5", b'"1.25"', b"5.555"]),
    st.sampled_from(
        [b"Hogar", b"\xc3\xa9", b'"a,b"', b'"a\nb"', b'"a\r\n\n""b"', b"\xe9", b'7" x']
    ),
    st.sampled_from([b"Norte", b'"No""rte"', b'"a"x', b"a\rb", b'"open', b"x" * 30]),
]
messy_rows = st.one_of(
    st.tuples(*fields).map(b",".join),
    st.sampled_from([GOOD[:-1], GOOD[:-1], b"", b"  ", b"1,2", GOOD[:-1] + b",x", b"\r"]),
)
messy_texts = st.tuples(
    st.lists(
        st.tuples(messy_rows, st.sampled_from([b"\n", b"\r\n"])).map(b"".join), max_size=15
    ).map(b"".join),
    st.sampled_from([b"", GOOD[:-1], b'1,2,"']),
).map(b"".join)


@pytest.fixture(params=[MAX_RECORD_BYTES, 60])
def record_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Records may be as long as ever, or so short that many are too long."""
    for module in (records, record_ends, decode_csv, ndjson_lines, text_blocks, ranges):
        # A header must not be too long.
        limit = request.param if module is not ranges else MAX_RECORD_BYTES
        monkeypatch.setattr(module, "MAX_RECORD_BYTES", limit)
        if hasattr(module, "MAX_RAW_BYTES"):
            monkeypatch.setattr(module, "MAX_RAW_BYTES", limit // 16)
    return int(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("read")


@pytest.mark.usefixtures("record_limit")
@settings(deadline=None, max_examples=250)
@given(messy_texts, st.booleans(), st.integers(1, 120), st.integers(1, 90))
def test_csv_comes_out_the_same_however_it_is_split(
    folder: Path, text: bytes, mark: bool, range_bytes: int, chunk_bytes: int
) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + HEADER + text
    whole = read(folder, data)
    split = ReadOptions(range_bytes=range_bytes, chunk_bytes=chunk_bytes)
    assert read(folder, data, split) == whole
    assert read(folder, data, dataclasses.replace(split, transform=SAME)) == whole
    positions = [row[0] for row in whole[1]]
    assert positions == sorted(set(positions))
    for position, _, _, _, raw in whole[1]:
        assert data[position : position + len(raw)] == raw


json_lines = st.sampled_from(
    [
        json.dumps(dict(zip(COLUMN_NAMES, row, strict=True))).encode()
        for row in [
            (1, "2024-01-31", 5.5, "Hogar", "Norte"),
            (1, "2024-01-31", 5.5, "Hogar", "Norte"),
            ("2", "2024-01-31T10:00:00Z", "7.25", 'Ho\n"gar', "N" * 80),
            (None, "ayer", 5.555, "", []),
        ]
    ]
    + [b"", b"  ", b"{", b"\xff", b'"' + b"x" * 100]
)


@pytest.mark.usefixtures("record_limit")
@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(json_lines, st.sampled_from([b"\n", b"\r\n"])).map(b"".join), max_size=12),
    st.booleans(),
    st.integers(1, 300),
    st.integers(1, 300),
)
def test_ndjson_comes_out_the_same_however_it_is_split(
    folder: Path, lines: list[bytes], mark: bool, range_bytes: int, chunk_bytes: int
) -> None:
    data = (b"\xef\xbb\xbf" if mark else b"") + b'{"a": 1}\n' + b"".join(lines)
    whole = read(folder, data, name="v.ndjson")
    split = ReadOptions(range_bytes=range_bytes, chunk_bytes=chunk_bytes)
    assert read(folder, data, split, "v.ndjson") == whole
    hooked = dataclasses.replace(split, transform=SAME)
    assert read(folder, data, hooked, "v.ndjson") == whole


tidy_texts = st.text(st.sampled_from('ab,"\n\r ñ;'), min_size=1, max_size=8).filter(str.strip)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(tidy_texts, tidy_texts), max_size=20), st.integers(1, 200), st.booleans())
def test_well_formed_csv_is_read_as_python_reads_it(
    folder: Path, names: list[tuple[str, str]], size: int, every: bool
) -> None:
    target = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if every else csv.QUOTE_MINIMAL
    writer = csv.writer(target, quoting=quoting)
    writer.writerow(COLUMN_NAMES)
    writer.writerows(
        (i + 1, "2024-01-31", "5.50", category, region)
        for i, (category, region) in enumerate(names)
    )
    text = target.getvalue()
    accepted, rejected = read(
        folder, text.encode(), ReadOptions(range_bytes=size, chunk_bytes=size)
    )
    expected = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not rejected
    assert [
        (r["id_cliente"], r["categoria_de_producto"], r["region_de_venta"]) for r in accepted
    ] == [
        (
            int(r["id_cliente"]),
            r["categoria_de_producto"].strip(),
            r["region_de_venta"].strip(),
        )
        for r in expected
    ]


def test_lines_longer_than_a_record_may_be_are_skipped_in_bounded_memory(tmp_path: Path) -> None:
    long = b"1,2024-01-31,5.50," + b"x" * (5 * MAX_RECORD_BYTES) + b",Norte\n"
    data = HEADER + GOOD + long + GOOD * 2 + long[:-1]
    for chunk in (1 << 16, 1 << 20, 8 << 20):
        accepted, rejected = read(tmp_path, data, ReadOptions(chunk_bytes=chunk))
        assert len(accepted) == 3
        start = len(HEADER) + len(GOOD)
        assert rejected == [
            malformed(start, long[:MAX_RAW_BYTES]),
            malformed(start + len(long) + 2 * len(GOOD), long[:MAX_RAW_BYTES]),
        ]


def test_a_long_line_does_not_grow_the_buffer_beyond_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    find = text_blocks.find_records

    def watch(data: Any, delimiter: int, *, final: bool) -> Any:
        sizes.append(len(data))
        return find(data, delimiter, final=final)

    monkeypatch.setattr(text_blocks, "find_records", watch)
    long = b'1,"' + b"x" * (20 * MAX_RECORD_BYTES) + b"\n"
    _, rejected = read(tmp_path, HEADER + long + GOOD, ReadOptions(chunk_bytes=1 << 16))
    assert rejected == [malformed(len(HEADER), long[:MAX_RAW_BYTES])]
    assert max(sizes) <= 2 * MAX_RECORD_BYTES + (1 << 16)


@pytest.mark.parametrize("chunk", [5000, 1 << 16, 8 << 20])
def test_a_quote_that_never_closes_costs_one_record(tmp_path: Path, chunk: int) -> None:
    broken = b'2,2024-01-31,5.50,"Hogar,Norte\n'
    for after in (3, 50_000):
        data = HEADER + GOOD + broken + GOOD * after
        accepted, rejected = read(tmp_path, data, ReadOptions(chunk_bytes=chunk, range_bytes=1000))
        assert len(accepted) == 1 + after
        assert rejected == [malformed(len(HEADER) + len(GOOD), broken[:-1])]


@pytest.mark.parametrize("name", ["gz", "bz2", "zst"])
def test_compressed_files_of_several_members_are_read_whole(tmp_path: Path, name: str) -> None:
    compress: dict[str, Any] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }
    parts = [HEADER + GOOD * 10 + b"1,2", b"024-01-31,5.50,Hogar,Norte\nbad\n", GOOD * 5]
    data = b"".join(compress[name](part) for part in parts)
    how = ReadOptions(chunk_bytes=70)
    accepted, rejected = read(tmp_path, data, how, f"v.csv.{name}")
    assert len(accepted) == 16
    assert rejected == [malformed(len(HEADER) + 10 * len(GOOD) + 30, b"bad")]
    lines = b'{"id_cliente": 1}\n' * 3
    assert len(read(tmp_path, compress[name](lines), how, f"v.ndjson.{name}")[1]) == 3


@pytest.mark.parametrize("name", ["gz", "bz2", "zst"])
def test_a_compressed_file_that_is_cut_off_is_an_error(tmp_path: Path, name: str) -> None:
    text = HEADER + os.urandom(1 << 18).hex().encode() + b"\n"
    compress: dict[str, Any] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    }
    whole = compress[name](text)
    for data in (whole[:-1], whole[: len(whole) * 3 // 4], whole + b"rubbish after it"):
        with pytest.raises(InputError, match=rf"v\.csv\.{name}: .* damaged or cut off"):
            read(tmp_path, data, name=f"v.csv.{name}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "cp037", "shift_jis"])
def test_codecs_of_several_bytes_are_read_as_utf8(tmp_path: Path, encoding: str) -> None:
    good = GOOD.decode()
    text = HEADER.decode() + good * 100 + '2,2024-01-31,5.50,"a\nb",x\nbad\n' + good
    how = ReadOptions(dialect=CsvDialect(encoding=encoding), range_bytes=50, chunk_bytes=64)
    accepted, rejected = read(tmp_path, text.encode(encoding), how)
    assert len(accepted) == 102
    assert rejected == [malformed(text.index("bad"), b"bad")]
    hooked = dataclasses.replace(how, transform=SAME)
    assert read(tmp_path, text.encode(encoding), hooked) == (accepted, rejected)


def test_bytes_that_a_stream_of_several_bytes_cannot_have_are_malformed(tmp_path: Path) -> None:
    text = (HEADER + GOOD + GOOD).decode()
    how = ReadOptions(dialect=CsvDialect(encoding="utf-16-le"))
    broken = text.encode("utf-16-le")[:-4] + b"\x00\xd8" + "\n".encode("utf-16-le") + b"\n"
    accepted, rejected = read(tmp_path, broken, how)
    assert len(accepted) == 1
    assert [row[1] for row in rejected] == [[Reason.MALFORMED], [Reason.MALFORMED]]


def test_a_spanish_export(tmp_path: Path) -> None:
    text = (
        "Cliente;Fecha;Importe;Categoría;Región\r\n"
        "7;31/01/2024;1234,50;Electrónica;Unión\r\n"
        '8;01/02/2024;0,99;"Niños; bebés";Ñuble\r\n'
    )
    columns = dict(
        zip(COLUMN_NAMES, ("cliente", "fecha", "importe", "categoria", "region"), strict=True)
    )
    dialect = CsvDialect(encoding="latin-1", notation=Notation(",", "dd/mm/yyyy"))
    how = ReadOptions(dialect=dialect, columns=columns)
    accepted, rejected = read(tmp_path, text.encode("latin-1"), how)
    assert not rejected
    hooked = dataclasses.replace(how, transform=SAME)
    assert read(tmp_path, text.encode("latin-1"), hooked) == (accepted, rejected)
    assert list(accepted[1].values()) == [
        8,
        datetime(2024, 2, 1, tzinfo=UTC),
        Decimal("0.99"),
        "Niños; bebés",
        "Ñuble",
    ]


def write_parquet(path: Path, **columns: Any) -> InputFile:
    usual = {
        "id_cliente": list(range(1, 101)),
        "fecha_de_transaccion": ["2024-01-31"] * 100,
        "cantidad_de_venta": [0.005 if i % 10 == 3 else 5.5 for i in range(100)],
        "categoria_de_producto": ["Hogar"] * 100,
        "region_de_venta": ["Norte"] * 100,
    }
    pq.write_table(pa.table({**usual, **columns}), path, row_group_size=7)
    return list_inputs([str(path)])[0]


def test_parquet_comes_out_the_same_however_it_is_split(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "v.parquet", extra=[{"a": 1}] * 100)
    results = []
    for size in (1, 500, 1 << 20):
        how = ReadOptions(range_bytes=size)
        results.append(read_parts(plan_ranges(file, how), how))
    assert results[0] == results[1] == results[2]
    accepted, rejected = results[0]
    assert len(accepted) == 90
    assert [row[0] for row in rejected] == list(range(3, 100, 10))
    assert {tuple(row[1]) for row in rejected} == {("inexact",)}
    hooked = ReadOptions(range_bytes=500, transform=SAME)
    accepted_too, rejected_too = read_parts(plan_ranges(file, hooked), hooked)
    assert accepted_too == accepted
    assert [row[:4] for row in rejected_too] == [row[:4] for row in rejected]
    # The whole record, of which a transform may have used any part.
    assert all(json.loads(row[4])["extra"] == {"a": 1} for row in rejected_too)


def test_a_transform_makes_up_for_columns_that_no_file_has(tmp_path: Path) -> None:
    how = ReadOptions(transform=Transform("tests.hooks:region_of_shop"))
    texts = {
        "v.csv": b"id_cliente,fecha_de_transaccion,tienda,centimos,categoria_de_producto\n"
        b"1,2024-01-31,N-1,550,Hogar\n",
        "v.ndjson": b'{"id_cliente":1,"fecha_de_transaccion":"2024-01-31","tienda":"N-1",'
        b'"centimos":550,"categoria_de_producto":"Hogar"}\n',
    }
    usual = {name: read(tmp_path, text, how, name) for name, text in texts.items()}
    table = pyarrow.csv.read_csv(io.BytesIO(texts["v.csv"]))
    pq.write_table(table, tmp_path / "v.parquet")
    (file,) = list_inputs([str(tmp_path / "v.parquet")])
    usual["v.parquet"] = read_parts(plan_ranges(file, how), how)
    assert usual["v.csv"] == usual["v.ndjson"] == usual["v.parquet"]
    assert [list(row.values())[2:] for row in usual["v.csv"][0]] == [
        [Decimal("5.50"), "Hogar", "Norte"]
    ]


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "v.parquet")
    data = bytearray(Path(file.path).read_bytes())
    data[4 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4)
    with pytest.raises(InputError, match=r"v\.parquet: a damaged (or unfinished )?Parquet file"):
        read(tmp_path, bytes(data), name="v.parquet")


@pytest.mark.parametrize("name", ["v.csv", "v.csv.gz", "v.parquet"])
def test_a_file_that_changes_between_planning_and_reading_is_an_error(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        write_parquet(path)
    else:
        path.write_bytes(gzip.compress(HEADER + GOOD) if name.endswith("gz") else HEADER + GOOD)
    (file,) = list_inputs([str(path)])
    (part,) = plan_ranges(file, ReadOptions())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="changed since it was listed"):
        list(read_range(part, ReadOptions(), RULES))
    path.unlink()
    with pytest.raises(InputError, match="gone since it was listed"):
        list(read_range(part, ReadOptions(), RULES))


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_bytes(HEADER + GOOD * 10_000)
    how = ReadOptions(chunk_bytes=1000)
    (part,) = plan_ranges(list_inputs([str(path)])[0], how)
    blocks = read_range(part, how, RULES)
    next(blocks)
    os.truncate(path, 10_000)
    with pytest.raises(InputError, match="changed since it was listed"):
        list(blocks)


@pytest.mark.parametrize("name", ["v.csv", "v.ndjson", "v.parquet", "v.csv.gz"])
def test_a_file_that_is_written_to_while_it_is_read_is_an_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = {"v.csv": HEADER + GOOD, "v.ndjson": b'{"id_cliente": 1}\n'}
    content["v.csv.gz"] = gzip.compress(content["v.csv"])
    if name == "v.parquet":
        write_parquet(path)
    else:
        path.write_bytes(content[name])
    (part,) = plan_ranges(list_inputs([str(path)])[0], ReadOptions())
    blocks = read_range(part, ReadOptions(), RULES)
    next(blocks)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(InputError, match="changed since it was listed"):
        list(blocks)


def test_int96_dates_do_not_wrap_around(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    # 2**64 nanoseconds after 2024-01-31.
    far = datetime(2608, 8, 21, 23, 34, 33)
    columns = {
        "id_cliente": [1, 2],
        "fecha_de_transaccion": pa.array([datetime(2024, 1, 31), far], pa.timestamp("us")),
        "cantidad_de_venta": [5.5, 5.5],
        "categoria_de_producto": ["Hogar"] * 2,
        "region_de_venta": ["Norte"] * 2,
    }
    pq.write_table(pa.table(columns), path, use_deprecated_int96_timestamps=True)
    accepted, rejected = read(tmp_path, path.read_bytes(), name="v.parquet")
    assert [row["fecha_de_transaccion"].year for row in accepted] == [2024]
    assert [(row[0], row[1]) for row in rejected] == [(1, ["out_of_range"])]


def test_a_page_that_does_not_fit_its_checksum_is_an_error(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id_cliente": pa.array(range(1, 1001), pa.int64()),
            "fecha_de_transaccion": ["2024-01-31"] * 1000,
            "cantidad_de_venta": [5.5] * 1000,
            "categoria_de_producto": ["Hogar"] * 1000,
            "region_de_venta": ["Norte"] * 1000,
        }
    )
    path = tmp_path / "v.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = bytearray(path.read_bytes())
    # The id 500 becomes another that is just as good.
    at = data.index((500).to_bytes(8, "little") + (501).to_bytes(8, "little"))
    data[at + 2] ^= 1
    with pytest.raises(InputError, match=r"v\.parquet: a damaged Parquet file"):
        read(tmp_path, bytes(data), name="v.parquet")


def test_two_threads_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_bytes(HEADER + (GOOD + b"bad\n" + b'2,2024-01-31,1,"a\nb",c\n') * 2000)
    how = ReadOptions(chunk_bytes=5000)
    (part,) = plan_ranges(list_inputs([str(path)])[0], how)
    results: list[list[Checked]] = [[], []]
    threads = [
        threading.Thread(target=lambda into=into: into.extend(read_range(part, how, RULES)))
        for into in results
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(c.rows for c in found) for found in results] == [6000, 6000]
    assert [sum(c.accepted.num_rows for c in found) for found in results] == [4000, 4000]
