"""The dataset, tables and views of a lake in BigQuery: looked at, and made when missing."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.clients import (
    bigquery_client,
    bigquery_is_emulated,
    bigquery_retry,
)
from celes_beam.stores.cloud.failures import cloud_errors
from celes_beam.stores.warehouse.schema import rejected_table, sales_table, type_name
from celes_beam.stores.warehouse.shape import check_fits
from celes_beam.stores.warehouse.table_name import TableName
from celes_beam.stores.warehouse.views import View, own_name, views_of

DEFAULT_LOCATION = "US"
"""Where BigQuery makes a dataset when it is not told."""
_OWNER_LABEL = "celes_table"
NEEDS = "roles/bigquery.dataEditor and roles/bigquery.jobUser"
_UPDATES = 5
"""Requests to add columns to a table that others change meanwhile."""


@dataclass(frozen=True)
class Destination:
    """A table as asked for: where a dataset is made, and the key that encrypts what is made."""

    table: TableName
    location: str | None = None
    kms_key: str | None = None


@dataclass(frozen=True)
class Beside:
    """What a table has beside that of batch: nullable columns at its end, and views."""

    fields: tuple[Any, ...] = ()
    views: tuple[View, ...] = ()


BATCH = Beside()


@dataclass(frozen=True)
class Tables:
    """What is there of a destination, or (``made`` False) would be: Google's own descriptions."""

    location: str
    dataset_made: bool
    sales: Any
    sales_made: bool
    rejected: Any
    rejected_made: bool
    views: tuple[tuple[TableName, View, bool], ...]
    """The name of each view, what it is, and whether it was there before."""
    columns_missing: tuple[Any, ...] = ()
    """Nullable columns that the sales table is to have, and has not."""

    @property
    def rows(self) -> int:
        """Rows of the sales table now, with those still in a streaming buffer."""
        buffered = getattr(getattr(self.sales, "streaming_buffer", None), "estimated_rows", 0)
        return int(self.sales.num_rows or 0) + int(buffered or 0)


def look_at(
    destination: Destination, partition_by: Collection[str], beside: Beside = BATCH
) -> Tables:
    """Look at what is there, and describe what is missing; makes nothing.

    ``partition_by`` are the partition columns of the lake, ``beside`` is what the sales table has
    beside those of the contract. Raises ``UsageError`` when a table that
    is there does not fit, or the dataset is in another location.
    """
    name, kms_key = destination.table, destination.kms_key
    client = bigquery_client(name.project)
    with cloud_errors("look at", f"dataset {name.project}:{name.dataset}", needs=NEEDS):
        dataset = _found(client.get_dataset, f"{name.project}.{name.dataset}")
    location = destination.location or DEFAULT_LOCATION
    if dataset is not None:
        location = dataset.location or location
        if destination.location and destination.location.lower() != location.lower():
            raise UsageError(
                f"--bigquery_location {destination.location}: dataset {name.project}:"
                f"{name.dataset} is in {location}, and stays there; leave the flag out, or name "
                "another dataset"
            )
    sales = sales_table(name, partition_by, kms_key)
    sales.schema = [*sales.schema, *beside.fields]
    described = (sales, rejected_table(name.rejected, kms_key))
    found = []
    for wanted in described:
        there = None
        if dataset is not None:
            with cloud_errors("look at", f"table {wanted.reference}", needs=NEEDS):
                there = table_there(client, wanted.reference)
        if there is not None:
            named = name.beside(wanted.table_id)
            check_fits(named, there, needed_fields(wanted.schema, there, beside), kms_key)
        found.append(there)
    has = {f.name for f in (found[0] or sales).schema}
    return Tables(
        location=location,
        dataset_made=dataset is not None,
        sales=found[0] or described[0],
        sales_made=found[0] is not None,
        rejected=found[1] or described[1],
        rejected_made=found[1] is not None,
        views=tuple(
            views_there(client, name, _views_of(name, beside))
            if dataset is not None
            else [(name.beside(view.name), view, False) for view in _views_of(name, beside)]
        ),
        columns_missing=tuple(f for f in beside.fields if f.name not in has),
    )


def make(destination: Destination, partition_by: Collection[str], beside: Beside = BATCH) -> Tables:
    """Make what is missing, and return what there is then; see ``look_at`` for what it raises."""
    seen = look_at(destination, partition_by, beside)
    name = destination.table
    client = bigquery_client(name.project)
    if not seen.dataset_made:
        with cloud_errors("make", f"dataset {name.project}:{name.dataset}", needs=NEEDS):
            client.create_dataset(
                _dataset(destination, seen.location), exists_ok=True, retry=bigquery_retry()
            )
    for table, made in ((seen.sales, seen.sales_made), (seen.rejected, seen.rejected_made)):
        if not made:
            with cloud_errors("make", f"table {table.reference}", needs=NEEDS):
                client.create_table(table, exists_ok=True, retry=bigquery_retry())
    if seen.columns_missing:
        _add_columns(client, name, seen)
    make_views(client, name, seen.views)
    return look_at(destination, partition_by, beside)


def needed_fields(wanted: Sequence[Any], there: Any, beside: Beside) -> list[Any]:
    """The fields that a table has to have: those beside the contract's only if it has them.

    What is to be JSON may be text there.
    """
    types = {f.name: type_name(f.field_type) for f in there.schema}
    optional = {f.name for f in beside.fields}
    texts = {f.name for f in beside.fields if f.field_type == "JSON"}
    return [
        f
        for f in wanted
        if f.name not in optional
        or (f.name in types and not (f.name in texts and types[f.name] == "STRING"))
    ]


def _add_columns(client: Any, name: TableName, seen: Tables) -> None:
    with cloud_errors("add columns to", f"table {name}", needs=NEEDS):
        if bigquery_is_emulated():
            # The stand-in adds to its data by SQL alone, and to its schema by the request alone.
            for field in seen.columns_missing:
                client.query(
                    f"ALTER TABLE `{name.path}` ADD COLUMN IF NOT EXISTS {field.name} "
                    f"{field.field_type}",
                    job_retry=None,
                ).result()
        _extend(client, seen.sales, seen.columns_missing)


def _extend(client: Any, table: Any, fields: Sequence[Any]) -> None:
    """Add fields to a table as it was when it was looked at, or as another process left it."""
    from google.api_core.exceptions import PreconditionFailed  # noqa: PLC0415

    for left in reversed(range(_UPDATES)):
        has = {f.name for f in table.schema}
        missing = [f for f in fields if f.name not in has]
        if not missing:
            return
        table.schema = [*table.schema, *missing]
        try:
            client.update_table(table, ["schema"], retry=bigquery_retry())
        except PreconditionFailed:
            # Perhaps by a try of ours whose answer was lost.
            if not left:
                raise
            table = client.get_table(table.reference, retry=bigquery_retry())
        else:
            return


def _dataset(destination: Destination, location: str) -> Any:
    from google.cloud import bigquery  # noqa: PLC0415

    name = destination.table
    dataset = bigquery.Dataset(f"{name.project}.{name.dataset}")
    dataset.location = location
    if destination.kms_key is not None:
        dataset.default_encryption_configuration = bigquery.EncryptionConfiguration(
            destination.kms_key
        )
    return dataset


def views_there(
    client: Any, name: TableName, views: Iterable[View]
) -> list[tuple[TableName, View, bool]]:
    """What each view of a table is called, and whether it is there.

    It has its short name, unless that is another table's view: then one of its own.
    """
    found = []
    for view in views:
        short, own = name.beside(view.name), name.beside(own_name(view, name))
        with cloud_errors("look at", f"view {short}", needs=NEEDS):
            holder = table_there(client, short.path)
            if holder is None or (holder.labels or {}).get(_OWNER_LABEL) == _owner(name):
                found.append((short, view, holder is not None))
            else:
                found.append((own, view, table_there(client, own.path) is not None))
    return found


def make_views(client: Any, name: TableName, views: Iterable[tuple[TableName, View, bool]]) -> None:
    """Make those views of a table that ``views_there`` says are missing."""
    missing = [(view_name, view) for view_name, view, made in views if not made]
    for view_name, view in missing:
        _make_view(client, name, view_name, view)
    # Another table's may have taken a short name since it was looked at.
    for view_name, view, made in views_there(client, name, [view for _, view in missing]):
        if not made:
            _make_view(client, name, view_name, view)


def _make_view(client: Any, name: TableName, view_name: TableName, view: View) -> None:
    from google.cloud import bigquery  # noqa: PLC0415

    described = bigquery.Table(view_name.path)
    described.view_query = view.query
    described.description = view.description
    described.labels = {_OWNER_LABEL: _owner(name)}
    with cloud_errors("make", f"view {view_name}", needs=NEEDS):
        client.create_table(described, exists_ok=True, retry=bigquery_retry())


def _views_of(name: TableName, beside: Beside) -> tuple[View, ...]:
    return (*views_of(name), *beside.views)


def _owner(name: TableName) -> str:
    # A label holds small letters alone, and not many.
    return hashlib.sha256(name.path.encode()).hexdigest()[:32]


def table_there(client: Any, name: Any) -> Any:
    """What BigQuery says of a table or view; None when it is not there."""
    return _found(client.get_table, name)


def _found(get: Any, name: Any) -> Any:
    from google.api_core.exceptions import NotFound  # noqa: PLC0415

    try:
        return get(name, retry=bigquery_retry())
    except NotFound:
        return None
