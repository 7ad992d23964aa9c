"""Sums of live windows that deliveries tell: of what was written, each batch once."""

from __future__ import annotations

from pathlib import Path

import pytest

from celes_beam.sales.aggregate import Share
from celes_beam.sales.messages import Messages
from celes_beam.stores.stream.delivery import Delivered, Delivery, DeliverySpec
from celes_beam.stores.warehouse.live_table import LiveSpec, live_table_name
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.stores.warehouse.tables import Destination
from tests.memory_sinks import MemoryCloud
from tests.sale_messages import RULES, accepted_ids, cents, sale_messages

TABLE = Destination(parse_table_name("my-project:sales.ventas"))
DAY_US = 86_400_000_000


def delivery(tmp_path: Path, cloud: MemoryCloud, *, live: bool = True) -> Delivery:
    spec = LiveSpec(live_table_name(TABLE.table), 86_400, 60.0, "me")
    return Delivery(
        DeliverySpec(
            RULES,
            "run",
            TABLE,
            journal=str(tmp_path / "journal"),
            delivery="exactly_once",
            flush_seconds=1e6,
            live=spec if live else None,
        ),
        sinks=lambda _: cloud.sinks(),
    )


def whole(delivered: Delivered) -> Share:
    return sum((one.share for one in delivered.live), Share(0, 0))


def test_sums_are_those_of_the_accepted_rows(tmp_path: Path) -> None:
    with delivery(tmp_path, MemoryCloud()) as open_delivery:
        found = open_delivery.deliver(sale_messages(range(30)))

    assert whole(found) == Share(len(accepted_ids(range(30))), cents(range(30)))
    assert {(one.category, one.region) for one in found.live} == {
        ("Hogar", region) for region in ("R0", "R1", "R2")
    }
    assert {one.start % DAY_US for one in found.live} == {0}


def test_there_are_none_unless_asked_for(tmp_path: Path) -> None:
    with delivery(tmp_path, MemoryCloud(), live=False) as open_delivery:
        found = open_delivery.deliver(sale_messages(range(30)))

    assert (found.live, found.batch) == ((), "")


def test_what_bigquery_refuses_is_not_counted(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    cloud.sales.refuses = lambda row: "no" if row["id_cliente"] == 1 else None
    with delivery(tmp_path, cloud) as open_delivery:
        found = open_delivery.deliver(sale_messages(range(5)))

    assert (found.refused, whole(found)) == (1, Share(4, cents(range(1, 5))))


def test_a_message_that_comes_again_is_not_counted_again(tmp_path: Path) -> None:
    with delivery(tmp_path, MemoryCloud()) as open_delivery:
        first = open_delivery.deliver(sale_messages(range(5)))
        again = open_delivery.deliver(sale_messages(range(5)))
        more = open_delivery.deliver(sale_messages(range(3, 7)))

    assert (whole(first), whole(again)) == (Share(5, cents(range(5))), Share(0, 0))
    assert whole(more) == Share(2, cents(range(5, 7)))
    # A batch is known by its messages.
    assert first.batch == again.batch != more.batch


def test_a_batch_that_failed_is_counted_once_it_is_written(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    failing = [True]

    def refuses(_: object) -> str | None:
        if failing:
            raise OSError("not now")
        return None

    cloud.sales.refuses = refuses
    with delivery(tmp_path, cloud) as open_delivery:
        with pytest.raises(OSError, match="not now"):
            open_delivery.deliver(sale_messages(range(5)))
        failing.clear()
        # It comes again, with others or alone; what was begun before goes first.
        found = open_delivery.deliver(_joined(sale_messages(range(5)), sale_messages(range(8, 9))))

    assert found.duplicates == 5
    assert whole(found) == Share(6, cents(range(5)) + cents(range(8, 9)))


def _joined(one: Messages, other: Messages) -> Messages:
    return Messages(
        one.data + other.data,
        one.attributes + other.attributes,
        one.ids + other.ids,
        one.published + other.published,
    )
