"""A lake in BigQuery: nothing twice, nothing lost, and taken up again where it was cut short.

The argument is in ``docs/warehouse.md``.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from celes_beam.errors import CelesError, LakeConflictError, UsageError
from celes_beam.stores.cloud.clients import bigquery_client, bigquery_is_emulated
from celes_beam.stores.lake.commit import CommitLog, now
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.loads import LOADS, Mark, Registration, TableLoads, rounds
from celes_beam.stores.lake.loads import REJECTED_ROUND as REJECTED
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.warehouse.jobs import Jobs
from celes_beam.stores.warehouse.load import Loader
from celes_beam.stores.warehouse.plan import Loading, Plan, Step, plan_loads
from celes_beam.stores.warehouse.shape import shape_of
from celes_beam.stores.warehouse.tables import Destination, Tables, look_at, make

_MOST_PLANS = 20
"""Overwrites that may come in between before loading gives up."""
_UNREGISTERED = "0" * 32


@dataclass(frozen=True)
class Loaded:
    """What a call has loaded into a table, and what was there before of the same lake."""

    table: str
    rejected_table: str
    views: tuple[str, ...]
    rows: int
    rejected_rows: int
    runs: int
    jobs: int
    rows_before: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As the summary's JSON holds it."""
        return {
            "table": self.table,
            "rejected_table": self.rejected_table,
            "views": list(self.views),
            "rows": self.rows,
            "rejected_rows": self.rejected_rows,
            "runs": self.runs,
            "jobs": self.jobs,
            "rows_already_loaded": self.rows_before,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Warehouse:
    """One table of BigQuery that holds the rows of one lake, perhaps among others."""

    destination: Destination
    lake: Lake
    _tables: Tables | None = field(default=None, init=False)

    def prepare(
        self,
        *,
        if_exists: str = "append",
        partition_by: Collection[str] | None = None,
        run_id: str | None = None,
    ) -> None:
        """Make what is missing in BigQuery, and register the table with the lake, before a commit.

        ``partition_by`` is what the lake is partitioned by, if the run knows; ``run_id`` is that
        of the run. With ``if_exists`` "error" a table that holds rows of anything else raises
        ``UsageError``; so does a table that does not fit, or was emptied since rows were loaded.
        """
        if self._tables is not None:
            return
        manifests = self.lake.commits().manifests
        if partition_by is None:
            partition_by = _partition_by(manifests)
        tables = look_at(self.destination, partition_by)
        loads = self._loads
        known = loads.registration()
        is_new = run_id is not None and all(m.run_id != run_id for m in manifests)
        if if_exists == "error" and tables.rows and (known is None or is_new):
            if any(self.destination.table.key in m.streamed_to for m in manifests):
                raise UsageError(
                    f"--bigquery_table: {self.destination.table} already holds {tables.rows:,} "
                    "rows, those among them that were streamed to this lake as well: load what it "
                    "lacks with --if_exists append, which takes no row twice"
                )
            raise UsageError(
                f"--bigquery_table: {self.destination.table} already holds {tables.rows:,} rows "
                "that are not of this lake: add to them with --if_exists append, replace them "
                "with pipelines.batch --if_exists overwrite, or name another table"
            )
        if known is not None:
            self._check_not_emptied(tables, known, manifests, partition_by)
        self._tables = make(self.destination, partition_by)
        if known is None:
            loads.register(str(self.destination.table), [m.run_id for m in manifests])

    def load(self) -> Loaded:
        """Load every run of the lake that the table lacks, in order; ``prepare`` comes first.

        Raises ``StorageError``, ``UsageError`` or ``IntegrityError`` in one line that says how to
        go on; what was loaded until then is marked, and not loaded again.
        """
        started = time.perf_counter()
        try:
            return self._load(started)
        except CelesError as error:
            raise type(error)(
                f"{str(error).rstrip('.')}; the rows are in the lake: load what is missing with "
                f"celes-beam lake load {shlex.quote(self.lake.storage.root)} "
                f"--bigquery_table {self.destination.table}"
            ) from error

    def pending(self, partition_by: Collection[str] | None = None) -> tuple[Tables, Plan]:
        """What is there, and what would be loaded; changes nothing, in the lake or in BigQuery."""
        manifests = CommitLog(self.lake.storage).load().manifests
        tables = look_at(self.destination, partition_by or _partition_by(manifests))
        registration = self._loads.registration() or Registration(
            table=str(self.destination.table),
            id=_UNREGISTERED,
            registered_at="",
            runs_before=tuple(m.run_id for m in manifests),
        )
        return tables, self._plan(manifests, registration, tables)

    def _load(self, started: float) -> Loaded:
        if self._tables is None:
            self.prepare()
        tables, registration = self._tables, self._loads.registration()
        if tables is None or registration is None:
            raise LakeConflictError(
                f"{self.lake.storage.root}/{LOADS}/{self._loads.key} was deleted while it was "
                "being loaded: run it again"
            )
        jobs = self._jobs(tables)
        loader = Loader(self.lake.storage, jobs, tables, shape_of(tables.sales.schema))
        done: list[tuple[Step, int]] = []
        rows_before: int | None = None
        for _ in range(_MOST_PLANS):
            plan = self._plan(self.lake.commits().manifests, registration, tables)
            rows_before = plan.rows_there if rows_before is None else rows_before
            if plan.truncates:
                for key in plan.before_truncation:
                    jobs.forbid(key)
            if self._carry_out(plan, loader, registration, done):
                break
        else:
            raise LakeConflictError("other runs replaced the rows again and again meanwhile")
        sales = [(s, n) for s, n in done if s.round_ != REJECTED]
        rejected = [(s, n) for s, n in done if s.round_ == REJECTED]
        return Loaded(
            table=str(self.destination.table),
            rejected_table=str(self.destination.table.rejected),
            views=tuple(name.table for name, _, _ in tables.views),
            rows=sum(s.rows for s, _ in sales),
            rejected_rows=sum(s.rows for s, _ in rejected),
            runs=len({s.run_id for s, _ in done}),
            jobs=sum(n for _, n in done),
            rows_before=rows_before or 0,
            seconds=time.perf_counter() - started,
        )

    def _carry_out(
        self,
        plan: Plan,
        loader: Loader,
        registration: Registration,
        done: list[tuple[Step, int]],
    ) -> bool:
        """Do a plan; False when an overwrite came in between, and a new plan is needed."""
        marks: list[tuple[str, Mark]] = []
        for step in plan.steps:
            try:
                job_ids = loader.load(step)
            except CelesError:
                # Files that an overwrite retired are gone, which no one needs to hear of.
                if self._round(registration) != plan.round_:
                    return False
                raise
            mark = Mark(run_id=step.run_id, rows=step.rows, jobs=tuple(job_ids), loaded_at=now())
            if plan.marks_at_end:
                marks.append((step.round_, mark))
            else:
                self._loads.mark(step.round_, mark)
            done.append((step, len(job_ids)))
        for round_, mark in marks:
            self._loads.mark(round_, mark)
        return self._round(registration) == plan.round_

    def _round(self, registration: Registration) -> str:
        return rounds(self.lake.commits().manifests, registration)[-1]

    def _plan(
        self, manifests: Sequence[Manifest], registration: Registration, tables: Tables
    ) -> Plan:
        loading = Loading(
            root=self.lake.storage.root,
            table=str(self.destination.table),
            table_key=self.destination.table.key,
            registration_id=registration.id,
            shape=shape_of(tables.sales.schema),
            emulated=bigquery_is_emulated(),
        )
        marked = {r: self._loads.marked(r) for r in (*rounds(manifests, registration), REJECTED)}
        return plan_loads(manifests, registration, marked, loading)

    def _check_not_emptied(
        self,
        tables: Tables,
        registration: Registration,
        manifests: Sequence[Manifest],
        partition_by: Collection[str],
    ) -> None:
        """Marks of a table that was deleted or emptied say what is no longer true."""
        plan = self._plan(manifests, registration, tables)
        if not plan.rows_there or tables.rows or plan.truncates:
            return
        # Another process may have loaded and marked since the table was looked at.
        if not look_at(self.destination, partition_by).rows:
            streamed = any(self.destination.table.key in m.streamed_to for m in manifests)
            remedy = (
                "part of them streamed, which the commits keep: load the lake into another table"
                if streamed
                else "to load all of it again, delete "
                f"{self.lake.storage.root}/{LOADS}/{self._loads.key}"
            )
            raise UsageError(
                f"--bigquery_table: {self.destination.table} is empty, but {plan.rows_there:,} "
                f"rows of this lake were loaded into it: {remedy}"
            )

    def _jobs(self, tables: Tables) -> Jobs:
        client = bigquery_client(self.destination.table.project, tables.location)
        return Jobs(client, tables.location, bigquery_is_emulated())

    @property
    def _loads(self) -> TableLoads:
        return TableLoads(self.lake.storage, self.destination.table.key)


def _partition_by(manifests: Sequence[Manifest]) -> Collection[str]:
    """What the newest run with files is partitioned by."""
    newest = next((m for m in reversed(manifests) if m.files), None)
    return newest.partition_by if newest else ()
