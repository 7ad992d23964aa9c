from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celes_beam.contract import SCHEMA
from celes_beam.errors import IntegrityError, StorageError
from celes_beam.stores.lake import measure
from celes_beam.stores.lake.measure import check_bytes, checksum, content
from tests.sales import sales_batch

EARLY = datetime(2024, 1, 1, tzinfo=UTC)
LATE = datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


def parquet(batch: pa.RecordBatch) -> io.BytesIO:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_batches([batch], SCHEMA), file, store_decimal_as_integer=True)
    file.seek(0)
    return file


def test_the_checksum_is_that_of_the_standard_in_the_notation_of_cloud_storage() -> None:
    # RFC 3720 (iSCSI): the CRC32C of "123456789" is E3069283.
    assert checksum(io.BytesIO(b"123456789")) == (9, "4waSgw==")
    assert checksum(io.BytesIO(b"")) == (0, "AAAAAA==")


def test_a_large_file_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_CHECKSUM_BLOCK", 2)
    assert checksum(io.BytesIO(b"123456789")) == (9, "4waSgw==")


def test_content_is_measured_over_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "BATCH_ROWS", 2)
    cents = [10**12 - 1, 10**12 - 1, 1]
    batch = sales_batch([("Ropa", "Sur", c) for c in cents], [LATE, EARLY, LATE])
    found = content(parquet(batch), "a.parquet")
    assert (found.rows, found.total) == (3, Decimal("19999999999.99"))
    assert (found.min_date, found.max_date) == (EARLY, LATE)


def test_a_file_without_rows() -> None:
    found = content(parquet(sales_batch([])), "a.parquet")
    assert (found.rows, found.total, found.min_date, found.max_date) == (0, 0, None, None)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 10])
def test_what_is_no_parquet_is_named(data: bytes) -> None:
    with pytest.raises(IntegrityError, match=r"p=1/a\.parquet cannot be read as Parquet: "):
        content(io.BytesIO(data), "p=1/a.parquet")


class Deleted(io.BytesIO):
    """An object that is deleted once it was read: going back asks for it again."""

    def seek(self, offset: int, whence: int = 0) -> int:
        raise FileNotFoundError(2, f"google::cloud::Status(NOT_FOUND: {offset} {whence})")


def test_a_file_that_is_gone_after_it_was_compared_is_no_surprise() -> None:
    size, crc32c = checksum(io.BytesIO(b"rows"))
    with pytest.raises(StorageError, match="a: reading failed: it is not there"):
        check_bytes(Deleted(b"rows"), "a", size=size, crc32c=crc32c)
