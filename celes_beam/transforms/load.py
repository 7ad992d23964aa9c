"""What is left to do once a run is committed, where no launcher waits for it: on one element."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.manifest import Manifest
from celes_beam.stores.warehouse.tables import Destination
from celes_beam.stores.warehouse.warehouse import Loaded, Warehouse

_LOGGER = logging.getLogger(__name__)


@dataclass(eq=False)
class EndRun(beam.PTransform):
    """PCollection of the one ``Manifest`` of a run -> PCollection of ``Loaded``.

    Tells the log of the workers what was committed, and then loads ``destination``; without one
    nothing comes out. A run that has nothing to commit gives a line of text instead of a manifest.
    """

    root: str
    destination: Destination | None = None

    def expand(self, decided: beam.PCollection[Manifest | str]) -> beam.PCollection[Any]:
        told = decided | "Tell" >> beam.Map(_tell)
        if self.destination is None:
            return told | "Nothing to load" >> beam.Filter(_never)
        return told | "Load" >> LoadWarehouse(self.root, self.destination)


@dataclass(eq=False)
class LoadWarehouse(beam.PTransform):
    """PCollection of one element, whatever it is -> PCollection of the ``Loaded`` of a lake.

    The table has been prepared. A retried bundle finds the jobs and marks of its first try, and
    loads nothing twice. Raises what ``Warehouse.load`` raises.
    """

    root: str
    destination: Destination

    def expand(self, decided: beam.PCollection[Any]) -> beam.PCollection[Loaded]:
        return decided | "Load runs" >> beam.ParDo(_LoadFn(self.root, self.destination))


class _LoadFn(beam.DoFn):
    def __init__(self, root: str, destination: Destination) -> None:
        self._root = root
        self._destination = destination

    def process(self, _: Any) -> Iterator[Loaded]:
        loaded = Warehouse(self._destination, Lake.open(self._root)).load()
        _LOGGER.info(
            "loaded into %s: rows=%d rejected=%d runs=%d jobs=%d there_before=%d",
            loaded.table,
            loaded.rows,
            loaded.rejected_rows,
            loaded.runs,
            loaded.jobs,
            loaded.rows_before,
        )
        yield loaded


def _tell(decided: Manifest | str) -> Manifest | str:
    if isinstance(decided, str):
        _LOGGER.info("%s", decided)
        return decided
    _LOGGER.info(
        "committed run %s: read=%d accepted=%d rejected=%d files=%d bytes=%d total=%s",
        decided.run_id,
        decided.rows_read,
        decided.rows_accepted,
        decided.rows_rejected,
        len(decided.files),
        decided.bytes,
        decided.total,
    )
    for refused in decided.refused_inputs:
        _LOGGER.warning("set aside: %s", refused.refused)
    return decided


def _never(_: Any) -> bool:
    return False
