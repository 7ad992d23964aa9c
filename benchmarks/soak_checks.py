"""Whether what was sent to a stream is what the table, the lake and the dead letters hold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from benchmarks.topics import BROKEN, SEED, Stream
from celes_beam.sales.traffic import SALE, what_was_published
from celes_beam.stores.cloud.clients import bigquery_client
from celes_beam.stores.lake.lake import Lake
from celes_beam.stores.lake.verify import verify
from celes_beam.stores.messages.receiver import Receiver
from celes_beam.stores.warehouse.table_name import parse_table_name

_NO_MORE_SECONDS = 10.0


class Check(NamedTuple):
    """What was to be there, what is, and what it is of."""

    what: str
    expected: object
    found: object

    @property
    def holds(self) -> bool:
        """Whether they are the same."""
        return self.expected == self.found


def checks(
    stream: Stream,
    letters: Stream,
    lake: str,
    published: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> list[Check]:
    """Compare what ``celes-beam publish`` sent with what is everywhere, to the cent.

    ``summary`` is that of the stream.
    """
    rows = published["rows"]
    sent = what_was_published(SEED, published["first_row"], rows, BROKEN, knows_names=False)
    amounts = sent.accepted["cantidad_de_venta"].to_pylist()
    accepted, total = len(amounts), sum(amounts, Decimal("0.00"))
    rejected = sum(sent.rejected.values())
    opened = Lake.open(lake)
    snapshot, problems = opened.snapshot(), verify(opened).problems
    letters_of = dead_letters(letters)
    of_runs = sum(run.rows_rejected for run in opened.runs())
    return [
        Check("rows read, by the summary", rows, summary["rows_read"]),
        Check("copies, by the summary", published["messages_twice"], summary["duplicates"]),
        Check("rows, total and sales of the table", (accepted, total, accepted), _table(stream)),
        Check("rejected rows of the table", rejected, _rejected(stream)),
        Check("rows and total of the lake", (accepted, total), (snapshot.rows, snapshot.total)),
        Check("rejected rows of the lake", rejected, of_runs),
        Check("problems of the lake", (), problems),
        Check(
            "dead letters, and their sales",
            (rejected, rejected),
            (letters_of.taken, len(letters_of.by_sale)),
        ),
    ]


def _ask(stream: Stream, query: str) -> tuple[Any, ...]:
    client = bigquery_client(parse_table_name(stream.table).project)
    return tuple(next(iter(client.query(query).result())).values())


def _table(stream: Stream) -> tuple[Any, ...]:
    path = parse_table_name(stream.table).path
    return _ask(
        stream,
        f"SELECT COUNT(*), SUM(cantidad_de_venta), COUNT(DISTINCT _message_id) FROM `{path}`",
    )


def _rejected(stream: Stream) -> int:
    path = parse_table_name(stream.table).rejected.path
    return int(_ask(stream, f"SELECT COUNT(*) FROM `{path}`")[0])


class Letters(NamedTuple):
    """How many dead letters there were, and the reasons of each rejected message, by its sale."""

    taken: int
    by_sale: dict[str, str]


def dead_letters(letters: Stream) -> Letters:
    """Take all dead letters out of their subscription."""
    receiver = Receiver(letters.subscription, ack_deadline=60)
    receiver.start()
    count = 0
    by_sale: dict[str, str] = {}
    try:
        while (
            held := receiver.take(
                max_rows=1_000, max_bytes=2**23, max_seconds=1.0, wait_seconds=_NO_MORE_SECONDS
            )
        ) is not None:
            count += len(held)
            by_sale.update((a[SALE], a["celes_reasons"]) for a in held.messages.attributes)
            receiver.ack(held)
    finally:
        receiver.close()
    return Letters(count, by_sale)
