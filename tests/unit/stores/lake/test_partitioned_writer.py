from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.contract import AMOUNT, CATEGORY, DATE, ID, REGION, SCHEMA
from celes_beam.errors import ConfigError, StorageError
from celes_beam.sales.partition import parse_hive_path
from celes_beam.stores.lake import partitioned_writer
from celes_beam.stores.lake.measure import measure_file
from celes_beam.stores.lake.parquet_writer import Layout
from celes_beam.stores.lake.partitioned_writer import PartitionedWriter
from celes_beam.stores.lake.staging_area import LocalStagingArea
from tests.sales import NOON, sales_batch

ROWS = [("Hogar", "Norte", 1), ("Ropa", "Sur", 250), ("Hogar", "Norte", 999_999_999_999)]


def read_back(folder: Path) -> pa.Table:
    """All rows under a folder in the contract's columns, in order of id."""
    hive = ds.partitioning(
        pa.schema([(n, pa.string()) for n in (REGION, CATEGORY, "fecha", "mes", "anio")]),
        flavor="hive",
    )
    table = ds.dataset(folder, format="parquet", partitioning=hive, schema=_all_columns())
    return table.to_table(columns=SCHEMA.names).sort_by(ID)


def _all_columns() -> pa.Schema:
    extra = [pa.field(name, pa.string()) for name in ("fecha", "mes", "anio")]
    return pa.schema([*SCHEMA, *extra])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["Hogar", "Ropa", "=a/b%"]),
                st.sampled_from(["Norte", "Sur", "Ñ"]),
                st.integers(1, 10**12 - 1),
                st.integers(0, 800),
            ),
            max_size=20,
        ),
        max_size=5,
    ),
    st.sampled_from([(), (REGION,), (CATEGORY, "mes"), ("anio", REGION, CATEGORY), ("fecha",)]),
    st.booleans(),
)
def test_every_row_is_written_once_and_described(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[tuple[str, str, int, int]]],
    partition_by: tuple[str, ...],
    encoded: bool,
) -> None:
    folder = tmp_path_factory.mktemp("staging")
    writer = PartitionedWriter(
        LocalStagingArea(str(folder)), Layout(partition_by), max_open_files=2
    )
    written = []
    first_id = 1
    for rows in batches:
        batch = sales_batch([r[:3] for r in rows], [NOON + timedelta(days=r[3]) for r in rows])
        ids = pa.array(range(first_id, first_id + len(rows)), pa.int64())
        first_id += len(rows)
        batch = batch.set_column(0, SCHEMA.field(0), ids)
        written.append(batch)
        writer.write(_encode_texts(batch) if encoded else batch)

    files = writer.close()

    expected = pa.Table.from_batches(written, SCHEMA)
    assert sum(f.rows for f in files) == expected.num_rows
    assert sum((Decimal(f.total) for f in files), Decimal(0)) == sum(
        expected[AMOUNT].to_pylist(), Decimal(0)
    )
    for file in files:
        (folder / file.staged).rename(folder / file.path)
    if files:
        assert read_back(folder).cast(SCHEMA).equals(expected)
    for file in files:
        path = folder / file.path
        dates = pq.read_table(path, partitioning=None)[DATE].to_pylist()
        assert (file.bytes, file.crc32c) == measure_file(path)
        assert parse_hive_path(file.path) == file.partition
        assert list(file.partition) == list(partition_by)
        assert (file.min_date, file.max_date) == (min(dates).isoformat(), max(dates).isoformat())


def _encode_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = {
        name: batch.column(name).dictionary_encode()
        if name in (CATEGORY, REGION)
        else batch.column(name)
        for name in batch.schema.names
    }
    return pa.RecordBatch.from_pydict(columns)


def test_a_partition_is_written_in_full_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioned_writer, "ROW_GROUP_ROWS", 10)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout())
    for _ in range(7):
        writer.write(sales_batch([("Hogar", "Norte", 1)] * 4 + [("Hogar", "Sur", 1)]))

    files = {f.partition[REGION]: f for f in writer.close()}

    metadata = pq.ParquetFile(tmp_path / files["Norte"].staged).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [12, 12, 4]
    assert files["Sur"].rows == 7


def test_many_batches_of_few_rows_wait_in_few_pieces(tmp_path: Path) -> None:
    """Out of a tiny file come a few rows of each partition, which take much room one by one."""
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout((REGION,)))
    for number in range(1000):
        writer.write(sales_batch([("Ropa", "Norte", number + 1), ("Ropa", "Sur", number + 1)]))
        assert all(len(w.chunks) <= 256 for w in writer._waiting.values())
    files = writer.close()
    assert [f.rows for f in files] == [1000, 1000]
    assert [f.total for f in files] == ["5005.00", "5005.00"]
    cents = pq.ParquetFile(tmp_path / files[0].staged).read().column(AMOUNT).to_pylist()
    assert cents == [Decimal(n + 1) / 100 for n in range(1000)]


def test_rows_that_wait_are_bounded_over_all_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioned_writer, "WAITING_ROWS", 50)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout())
    for number in range(40):
        writer.write(sales_batch([("Hogar", f"r{number % 20}", 1)] * 5))
        assert writer._waiting_rows <= 50

    assert sum(f.rows for f in writer.close()) == 200


def test_a_file_is_finished_at_its_target_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitioned_writer, "ROW_GROUP_ROWS", 100)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout(target_file_bytes=2_000))
    for number in range(50):
        writer.write(sales_batch([("Hogar", "Norte", 1 + number * i) for i in range(100)]))

    files = writer.close()

    assert len(files) > 5
    assert all(f.bytes < 6_000 for f in files)


def test_open_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioned_writer, "ROW_GROUP_ROWS", 1)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout(), max_open_files=3)
    for region in ["a", "b", "c", "a", "d", "a", "b"]:
        writer.write(sales_batch([("Hogar", region, 1)]))
        assert len(writer._open) <= 3

    regions = [f.partition[REGION] for f in writer.close()]

    # "a" was used again in time to stay open; "b" was not, and has two files.
    assert sorted(regions) == ["a", "b", "b", "c", "d"]


def test_too_many_partitions_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioned_writer, "MAX_PARTITIONS", 3)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout())

    with pytest.raises(ConfigError, match=r"more than 3 partitions: choose columns"):
        writer.write(sales_batch([("Hogar", str(i), 1) for i in range(4)]))


def test_files_are_small_and_typed_as_the_contract_says(tmp_path: Path) -> None:
    midnight = datetime(2024, 5, 3, tzinfo=UTC)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout(()))
    writer.write(sales_batch(ROWS, [midnight] * 3))
    (file,) = writer.close()

    parquet = pq.ParquetFile(tmp_path / file.staged)

    assert parquet.schema_arrow.remove_metadata() == SCHEMA
    group = parquet.metadata.row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns[AMOUNT].physical_type == "INT64"
    assert "DELTA_BINARY_PACKED" in columns[ID].encodings
    assert columns[DATE].has_dictionary_page
    packed = {name for name, c in columns.items() if "DELTA_BINARY_PACKED" in c.encodings}
    assert packed == {ID, AMOUNT}
    assert {n for n, c in columns.items() if c.compression == "UNCOMPRESSED"} == packed
    assert all(c.is_stats_set for c in columns.values())


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "staging").write_text("a file where a folder should be")
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path / "staging")), Layout())
    writer.write(sales_batch(ROWS))

    with pytest.raises(StorageError, match=r"staging.*could not be written.*run again"):
        writer.close()


def test_abandoned_files_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitioned_writer, "ROW_GROUP_ROWS", 1)
    writer = PartitionedWriter(LocalStagingArea(str(tmp_path)), Layout())
    writer.write(sales_batch(ROWS))

    writer.abandon()

    assert writer.close() == []
