"""One step of a plan carried out: the jobs that load the files of a run into a table."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

from celes_beam.contract import COLUMN_NAMES
from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.manifest import DataFile, RejectedFile
from celes_beam.stores.lake.storage import Storage
from celes_beam.stores.warehouse.jobs import KEY_LABEL, Jobs
from celes_beam.stores.warehouse.plan import Chunk, Step
from celes_beam.stores.warehouse.rewrite import copied, rewritten
from celes_beam.stores.warehouse.shape import TableShape
from celes_beam.stores.warehouse.tables import Tables


@dataclass(frozen=True)
class Loader:
    """Loads chunks of files of one lake into the tables of one destination."""

    storage: Storage
    jobs: Jobs
    tables: Tables
    shape: TableShape

    def load(self, step: Step) -> list[str]:
        """Load a run; returns the ids of its jobs, each ended with success.

        Raises ``IntegrityError`` when a job reports another number of rows than its files hold.
        """
        return [self._load(chunk) for chunk in step.chunks]

    def _load(self, chunk: Chunk) -> str:
        what = (
            f"{'rejected rows' if chunk.is_rejected else 'rows'} of run {chunk.run_id} "
            f"({len(chunk.files):,} files, {chunk.rows:,} rows) into {self._table(chunk).reference}"
        )
        job = self.jobs.run(chunk.key, lambda job_id: self._start(chunk, job_id), what)
        loaded = int(job.output_rows or 0)
        # The stand-in reports all rows of the table.
        if loaded != chunk.rows and not (self.jobs.emulated and loaded > chunk.rows):
            raise IntegrityError(
                f"job {job.job_id} loaded {loaded:,} rows, but its files hold {chunk.rows:,}: look "
                f"at {what} before you go on"
            )
        return str(job.job_id)

    def _start(self, chunk: Chunk, job_id: str) -> Any:
        table, client = self._table(chunk).reference, self.jobs.client
        config, location = self._config(chunk, job_id), self.jobs.location
        if chunk.how == "direct":
            uris = [f"{self.storage.root.rstrip('/')}/{f.path}" for f in chunk.files]
            return client.load_table_from_uri(
                uris, table, job_id=job_id, location=location, job_config=config, retry=None
            )
        with ExitStack() as opened:
            if chunk.how == "rewritten":
                sales = cast("tuple[DataFile, ...]", chunk.files)
                # The stand-in goes by the position of a column.
                copies = rewritten(self.storage, sales, self.shape, by_position=self.jobs.emulated)
                source = opened.enter_context(copies)
            else:
                rejected = cast("tuple[RejectedFile]", chunk.files)
                source = opened.enter_context(copied(self.storage, rejected[0]))
            return client.load_table_from_file(
                source, table, job_id=job_id, location=location, job_config=config
            )

    def _config(self, chunk: Chunk, job_id: str) -> Any:
        from google.cloud import bigquery  # noqa: PLC0415

        config = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
            write_disposition=self._disposition(chunk),
            labels={KEY_LABEL: job_id},
        )
        if self._table(chunk).encryption_configuration is not None:
            config.destination_encryption_configuration = self._table(
                chunk
            ).encryption_configuration
        if chunk.is_rejected:
            config.parquet_options = bigquery.ParquetOptions()
            config.parquet_options.enable_list_inference = True
        elif chunk.how == "direct":
            keys = [k for k in cast("DataFile", chunk.files[0]).partition if k in COLUMN_NAMES]
            if keys:
                options = bigquery.HivePartitioningOptions()
                options.mode = "CUSTOM"
                options.source_uri_prefix = "/".join(
                    (self.storage.root.rstrip("/"), *(f"{{{key}:STRING}}" for key in keys))
                )
                config.hive_partitioning = options
        return config

    def _disposition(self, chunk: Chunk) -> str:
        if not chunk.truncates:
            return "WRITE_APPEND"
        # Keeps schema, descriptions and partitions of the table, which WRITE_TRUNCATE takes from
        # the job; the stand-in knows that one alone, and keeps them then.
        return "WRITE_TRUNCATE" if self.jobs.emulated else "WRITE_TRUNCATE_DATA"

    def _table(self, chunk: Chunk) -> Any:
        return self.tables.rejected if chunk.is_rejected else self.tables.sales
