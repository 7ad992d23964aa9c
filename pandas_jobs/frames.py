"""The sales of a lake as frames of pandas, one after another."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import AMOUNT, AMOUNT_SCALE
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.cloud.engine_access import open_for_engine, storage_emulator
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.lake.engine_files import EngineFile
from celes_beam.stores.lake.lake_reader import TEXTS

FRAME_ROWS = 1_048_576
"""The amounts of so many rows, in cents, add up to less than 2**63 whatever they are."""
CENTS = "cents"


def sales_frames(job: EngineJob) -> Iterator[pd.DataFrame]:
    """Yield the columns of a job, at most ``FRAME_ROWS`` rows at a time, file by file.

    Ids are int64, dates datetime64[us, UTC], and texts categorical; amounts stand in ``CENTS`` as
    int64. Raises ``StorageError`` or ``IntegrityError`` for a file that cannot be read, and
    ``InputError`` for one of a plain folder, or its first value that is not acceptable.
    """
    for file in job.files:
        before = 0
        for batch in _batches(job, file):
            sales = job.sales(file, batch, before)
            before += sales.num_rows
            yield _frame(sales)
            job.advance(rows=sales.num_rows)
        job.advance(done=file.file.bytes)


def _batches(job: EngineJob, file: EngineFile) -> Iterator[pa.RecordBatch]:
    """What stands in a file, a column only when it is needed."""
    texts = [file.held[name] for name in TEXTS if name in file.held]
    try:
        with open_for_engine(file.path, storage_emulator()) as opened:
            parquet = pq.ParquetFile(
                opened,
                # Grouping by the codes of a dictionary is several times faster than by texts.
                read_dictionary=texts,
                # Nanoseconds, which are the default, wrap around before 1677 and after 2262.
                coerce_int96_timestamp_unit="us",
                pre_buffer=file.path.startswith(GCS_SCHEME),
            )
            yield from parquet.iter_batches(FRAME_ROWS, columns=file.names(job.columns))
    except (pa.ArrowException, *READ_ERRORS) as error:
        raise job.found.reader.failure(file.file, error) from error


def _frame(sales: pa.RecordBatch) -> pd.DataFrame:
    frame = sales.to_pandas(
        types_mapper={
            sales.schema.field(AMOUNT).type: pd.ArrowDtype(sales.schema.field(AMOUNT).type)
        }.get
    )
    amounts = frame.pop(AMOUNT)
    frame[CENTS] = (amounts * 10**AMOUNT_SCALE).astype("int64[pyarrow]").astype("int64")
    return frame
