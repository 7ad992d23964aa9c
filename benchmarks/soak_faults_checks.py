"""Whether, at the end, everything sent is everywhere once: the ledger against each store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.soak_checks import Check, dead_letters
from benchmarks.soak_faults_ledger import Expected, Landing, Publisher
from benchmarks.soak_faults_looks import ask
from benchmarks.topics import Stream
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.warehouse.table_name import TableName, parse_table_name

FolderOf = Callable[[str], Path]
"""Where the files of a lake in a bucket are on this machine."""


def stream_checks(
    stream: Stream, letters: Stream, lake: str, folder: FolderOf, publisher: Publisher
) -> list[Check]:
    """Compare what was published with the table, the lake and the dead letters."""
    expected, by_seed, rejected = publisher.expected()
    table = parse_table_name(stream.table)
    rows = (expected.accepted, expected.accepted, expected.total, expected.sum_of_ids)
    letters_of = dead_letters(letters)
    reasons = Counter(reason for reason in letters_of.by_sale.values())
    return [
        Check("stream's table: rows, messages, total, ids", rows, _rows(table)),
        Check("its rows once: the same", rows, _rows(table.beside("ventas_unicas"))),
        Check("its rows and their numbers, by seed", by_seed, _by_seed(table)),
        Check("its rejected rows", expected.rejected_rows, _count(table.rejected)),
        *lake_checks("stream's lake", lake, folder, expected),
        Check("dead letters, by their sales", rejected, set(letters_of.by_sale)),
        Check("dead letters, by their reasons", expected.rejected, reasons),
    ]


def file_checks(table_name: str, lake: str, folder: FolderOf, landing: Landing) -> list[Check]:
    """Compare what arrived as files with the table and the lake."""
    expected, table = landing.expected, parse_table_name(table_name)
    inputs = [i for run in Lake.open(lake).runs() for i in run.inputs]
    bad = sorted(i.path.rsplit("/", 1)[-1] for i in inputs if i.refused is not None)
    found = ask(
        table,
        f"SELECT COUNT(*), SUM(cantidad_de_venta), SUM(id_cliente) FROM `{table.path}`",
    )[0]
    return [
        Check("files that were taken in", landing.files, len({i.path for i in inputs})),
        Check("no file twice", len(inputs), len({i.path for i in inputs})),
        Check("files that are no sales", sorted(landing.bad), bad),
        Check(
            "files' table: rows, total, ids",
            (expected.accepted, expected.total, expected.sum_of_ids),
            found,
        ),
        Check("its rejected rows", expected.rejected_rows, _count(table.rejected)),
        *lake_checks("files' lake", lake, folder, expected),
    ]


def lake_checks(what: str, root: str, folder: FolderOf, expected: Expected) -> list[Check]:
    """Compare the rows of a lake, by its commits and by its files, with what was sent."""
    lake = Lake.open(root)
    snapshot = lake.snapshot()
    rejected: Counter[str] = Counter()
    for run in snapshot.runs:
        rejected.update(run.rejected_by_reason)
    paths = [folder(root) / file.path for file in snapshot.files]
    ids = np.concatenate([pq.read_table(p, columns=["id_cliente"])["id_cliente"] for p in paths])
    same = np.array_equal(np.sort(ids), np.sort(np.concatenate(expected.ids)))
    return [
        Check(
            f"{what}: rows and total",
            (expected.accepted, expected.total),
            (snapshot.rows, snapshot.total),
        ),
        Check(f"{what}: the ids of its files are those that were sent", True, same),
        Check(f"{what}: rejected rows by reason", expected.rejected, rejected),
        Check(f"{what}: problems", (), verify(lake).problems),
    ]


def _rows(table: TableName) -> tuple[int, int, Decimal, int]:
    count, messages, total, ids = ask(
        table,
        "SELECT COUNT(*), COUNT(DISTINCT _message_id), SUM(cantidad_de_venta), SUM(id_cliente) "
        f"FROM `{table.path}`",
    )[0]
    return count, messages, total, ids


def _by_seed(table: TableName) -> dict[str, tuple[int, int]]:
    found = ask(
        table,
        "SELECT SPLIT(_message_id, '-')[OFFSET(0)] AS seed, COUNT(*), "
        "SUM(CAST(SPLIT(_message_id, '-')[OFFSET(1)] AS INT64)) "
        f"FROM `{table.path}` GROUP BY seed",
    )
    return {seed: (rows, numbers) for seed, rows, numbers in found}


def _count(table: TableName) -> int:
    return int(ask(table, f"SELECT COUNT(*) FROM `{table.path}`")[0][0])
