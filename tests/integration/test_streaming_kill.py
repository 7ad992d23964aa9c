"""A stream killed again and again: every row once, every broken one in the dead letters."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from celes_beam.commands.stream_options import Delivery
from celes_beam.stores.warehouse.table_name import parse_table_name
from tests.known_stream import (
    PATIENCE,
    Places,
    batches,
    check_everywhere,
    process,
    run_to_the_end,
    until_more,
)

ROWS = 50_000
KILLS = 5


@pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
def test_killed_again_and_again(
    tmp_path: Path, pubsub: str, dataset: str, delivery: Delivery
) -> None:
    places, table, lake = Places(), parse_table_name(f"{dataset}.ventas"), tmp_path / "lake"
    stream = [*places.stream(table, lake), "--delivery", delivery]
    chance = random.Random(delivery)
    log = tmp_path / "log"

    with process(*places.publish(ROWS, 4000), log=log) as publisher:
        for _ in range(KILLS):
            with process(*stream, log=log) as killed:
                until_more(lake, batches(lake), killed)
                time.sleep(chance.random())
        assert publisher.wait(PATIENCE) == 0, log.read_text()
    run_to_the_end(stream, log)

    check_everywhere(places, ROWS, table, lake, is_exactly_once=delivery == "exactly_once")
