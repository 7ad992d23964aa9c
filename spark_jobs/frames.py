"""The sales of a lake, or of a plain folder, as one DataFrame of Spark."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkTypeError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as every user of Spark calls it
from pyspark.sql.pandas.types import from_arrow_type
from pyspark.sql.types import (
    DataType,
    DateType,
    DecimalType,
    IntegerType,
    LongType,
    ShortType,
    StringType,
    StructField,
    StructType,
)

from celes_beam.commands.engine_job import EngineJob
from celes_beam.contract import SCHEMA
from celes_beam.stores.cloud.clients import GCS_SCHEME
from celes_beam.stores.lake.engine_files import EngineFile, contract_sales
from celes_beam.stores.lake.lake_reader import LakeReader

_PATH = "path of the file"
_GLOBS = "__globPaths__"
"""Spark takes any path for a pattern otherwise, in which ``[1]`` stands for ``1``."""
_WIDER: Mapping[pa.DataType, DataType] = {
    pa.uint8(): ShortType(),
    pa.uint16(): IntegerType(),
    pa.uint32(): LongType(),
    pa.uint64(): DecimalType(20, 0),
    pa.date64(): DateType(),
}


def sales_frame(spark: SparkSession, job: EngineJob) -> DataFrame:
    """All files of a job, none else, with the contract's types and of its columns ``job.columns``.

    Of a plain folder a task raises ``InputError`` for a value that is not acceptable.
    """
    read = _read_lake if job.is_lake else _read_plain
    frames = [read(spark, job, files) for files in _alike(job.files)]
    return reduce(DataFrame.union, frames)


def spark_path(path: str) -> str:
    """The path of an ``EngineFile`` for Spark, whatever file system it takes by default."""
    return path if path.startswith(GCS_SCHEME) else f"file://{path}"


def _alike(files: Iterable[EngineFile]) -> list[list[EngineFile]]:
    """Files with the same columns in the path, and the same columns with the same types inside."""

    def layout(file: EngineFile) -> str:
        in_path = [name for name, _ in file.file.partition]
        return repr((in_path, sorted(file.held.items()), sorted(file.types.items())))

    return [list(group) for _, group in groupby(sorted(files, key=layout), layout)]


def _read_lake(spark: SparkSession, job: EngineJob, files: list[EngineFile]) -> DataFrame:
    """Columns in the path are found by Spark, which reads them, as texts, from the names."""
    one = files[0]
    fields = _fields({c: one.types[c] for c in one.held})
    fields += [StructField(name, StringType()) for name, _ in one.file.partition]
    root = one.path.removesuffix(f"/{one.file.name}")
    return (
        spark.read.option("basePath", spark_path(root))
        .option(_GLOBS, "false")
        .schema(StructType(fields))
        .parquet(*(spark_path(file.path) for file in files))
        .select(*job.columns)
    )


def _read_plain(spark: SparkSession, job: EngineJob, files: list[EngineFile]) -> DataFrame:
    """Each batch is judged in Python, by the same code as any input.

    What stands in a path comes from the descriptions of the files: Spark cannot read accents from
    paths that Arrow wrote, and guesses where layouts differ.
    """
    one = files[0]
    types = {one.held[c]: one.types[c] for c in job.columns if c in one.held}
    sales = StructType([StructField(c, from_arrow_type(SCHEMA.field(c).type)) for c in job.columns])
    by_path = {file.path: file for file in files}
    judge = _Judge(job.found.reader, by_path, types, job.columns)
    return (
        spark.read.option("recursiveFileLookup", "true")
        .option(_GLOBS, "false")
        .schema(StructType(_fields(types)))
        .parquet(*(spark_path(file.path) for file in files))
        .select("*", F.col("_metadata.file_path").alias(_PATH))
        .mapInArrow(judge, sales)
    )


@dataclass(frozen=True)
class _Judge:
    """Turns batches of plain files into batches of sales; picklable, for workers.

    ``files`` are found by their paths, and ``types`` are those of their columns, by their names.
    """

    reader: LakeReader
    files: Mapping[str, EngineFile]
    types: Mapping[str, pa.DataType]
    columns: tuple[str, ...]

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for uri, rows in _by_path(batch):
                file = self.files[_path_of(uri)]
                # The number of a row is not known here; whoever names a wrong one reads it again.
                sales = contract_sales(self.reader, file, self.columns, self._as_read(rows), 0)
                arrays = [sales.column(c).cast(SCHEMA.field(c).type) for c in self.columns]
                yield pa.RecordBatch.from_arrays(arrays, names=list(self.columns))

    def _as_read(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The columns as Arrow would have read them, where Spark could not."""
        arrays = []
        for name, kind in self.types.items():
            if name not in rows.schema.names:
                arrays.append(pa.nulls(rows.num_rows))
            elif pa.types.is_timestamp(kind) and kind.unit == "ns":
                arrays.append(rows.column(name).view(kind))
            else:
                arrays.append(rows.column(name))
        return pa.RecordBatch.from_arrays(arrays, names=list(self.types))


def _by_path(batch: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Split a batch, which may reach over several files."""
    runs = pc.run_end_encode(batch.column(_PATH))
    first = 0
    for end, uri in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        yield uri, batch.slice(first, end - first)
        first = end


def _path_of(uri: str) -> str:
    """The path of an ``EngineFile`` that Spark names so."""
    path = unquote(uri)
    return path if path.startswith(GCS_SCHEME) else "/" + path.removeprefix("file:").lstrip("/")


def _fields(types: Mapping[str, pa.DataType]) -> list[StructField]:
    """Columns of files as Spark reads them; without those that it cannot."""
    known = {name: _spark_type(kind) for name, kind in types.items()}
    return [StructField(name, kind) for name, kind in known.items() if kind is not None]


def _spark_type(kind: pa.DataType) -> DataType | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        # By spark.sql.legacy.parquet.nanosAsLong; otherwise Spark refuses the file.
        return LongType()
    if kind in _WIDER:
        return _WIDER[kind]
    try:
        return None if pa.types.is_nested(kind) else from_arrow_type(kind)
    except PySparkTypeError:
        return None
