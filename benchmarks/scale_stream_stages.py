"""The work of a stream whose stages are measured, without servers; see ``scale_stages``."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.scale_stopwatch import Stopwatch
from benchmarks.scale_work import Done, Work

BATCH = 5_000
"""Messages of a batch, as the streaming pipeline has them by default."""


def messages(rows: int, folder: Path, watch: Stopwatch, _: ExitStack) -> Work:
    """Messages checked, put into a journal, and made requests to a table, in batches."""
    from celes_beam.sales.messages import check_messages  # noqa: PLC0415
    from celes_beam.stores.stream.delivery import Delivery  # noqa: PLC0415

    batches = _batches(rows)
    runs = iter(range(1_000))

    def check(messages: Any, rules: Any) -> Any:
        with watch.stage("decode and check"):
            return check_messages(messages, rules)

    def work(share: float, _: int) -> Done:
        root = folder / f"journal-{next(runs)}"
        appended: list[int] = []
        sinks = _rows_alone(watch, appended)
        spec = _spec(journal=str(root))
        with Delivery(spec, sinks=lambda _: sinks, check=check) as delivery:
            some = batches[: max(1, round(len(batches) * share))]
            rows = sum(delivery.deliver(batch).rows for batch in some)
        written = sum(entry.stat().st_size for entry in root.glob("*.entry"))
        return Done(rows, sum(batch.size for batch in some), written, sum(appended))

    return work


def native(rows: int, _: Path, watch: Stopwatch, __: ExitStack) -> Work:
    """Messages parsed and joined to chunks, one after another, as Dataflow's source needs."""
    from apache_beam.io.gcp.pubsub import PubsubMessage  # noqa: PLC0415
    from apache_beam.utils.timestamp import Timestamp  # noqa: PLC0415

    from celes_beam.transforms.pubsub_native import _JoinFn  # noqa: PLC0415

    joined = [
        PubsubMessage(data, attributes, message_id)._to_proto_str(for_publish=False)
        for batch in _batches(rows)
        for data, attributes, message_id in zip(
            batch.data, batch.attributes, batch.ids, strict=True
        )
    ]

    def work(share: float, _: int) -> Done:
        join, at = _JoinFn(), Timestamp()
        join.start_bundle()
        some = joined[: max(1, round(len(joined) * share))]
        with watch.stage("parse and join"):
            for data in some:
                list(join.process(PubsubMessage._from_proto_str(data), at))
        list(join.finish_bundle())
        return Done(len(some), sum(map(len, some)))

    return work


def flush(rows: int, folder: Path, _: Stopwatch, ends: ExitStack) -> Work:
    """The entries of a journal read, and their rows staged and committed to a lake."""
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.lake.parquet_writer import Layout  # noqa: PLC0415
    from celes_beam.stores.stream.delivery import Delivery  # noqa: PLC0415
    from celes_beam.stores.stream.flush import Flusher  # noqa: PLC0415
    from celes_beam.stores.stream.journal import Journal  # noqa: PLC0415

    root = folder / "journal-to-flush"
    sinks = _rows_alone(Stopwatch(), [])
    delivery = Delivery(_spec(journal=str(root)), sinks=lambda _: sinks)
    delivery.start()
    for batch in _batches(rows):
        delivery.deliver(batch)
    ends.callback(delivery.close)
    runs = iter(range(1_000))

    def work(share: float, _: int) -> Done:
        journal, lake = Journal.open(str(root)), Lake.open(str(folder / f"flushed-{next(runs)}"))
        listing = journal.listing()
        names = list(listing.entries)
        some = names[: max(1, round(len(names) * share))]
        flusher = Flusher(lake, journal, "flush", Layout(), _spec().message_rules.source)
        commits = flusher.flush(listing, some)
        read = sum(listing.entries[name].size for name in some)
        rows = sum(commit.rows_read for commit in commits)
        return Done(rows, read, sum(commit.bytes for commit in commits))

    return work


def _batches(rows: int) -> list[Any]:
    from celes_beam.config import load_config  # noqa: PLC0415
    from celes_beam.sales.messages import Messages  # noqa: PLC0415
    from celes_beam.sales.traffic import Schedule, Traffic  # noqa: PLC0415

    made = list(Schedule(Traffic(load_config(), error_rate=0.01), rows))
    now_us = time.time_ns() // 1000
    return [
        Messages(
            [message.data for message in some],
            [message.attributes for message in some],
            [str(first + n) for n in range(len(some))],
            [now_us] * len(some),
        )
        for first in range(0, rows, BATCH)
        if (some := made[first : first + BATCH])
    ]


def _spec(journal: str | None = None) -> Any:
    from celes_beam.sales.messages import MessageRules  # noqa: PLC0415
    from celes_beam.stores.stream.spec import DeliverySpec  # noqa: PLC0415

    rules = MessageRules("pubsub:projects/celes-dev/subscriptions/scale")
    return DeliverySpec(message_rules=rules, run_id="scale", journal=journal)


def _rows_alone(watch: Stopwatch, appended: list[int]) -> Any:
    """Sinks that make the requests of an append, and send none; their bytes are noted."""
    from celes_beam.stores.stream.apply import Sinks  # noqa: PLC0415
    from celes_beam.stores.warehouse.append_requests import append_request  # noqa: PLC0415
    from celes_beam.stores.warehouse.stream_tables import stream_batch  # noqa: PLC0415

    def stream_rows(checked: Any, at_us: int) -> Any:
        with watch.stage("encode for the table"):
            return stream_batch(checked.accepted, checked.accepted_ids, at_us, None)

    class Requests:
        def open(self) -> str:
            return ""

        def append(self, rows: Any, *_: object, **__: object) -> None:
            with watch.stage("encode for the table"):
                request = append_request(rows, "projects/p", None, with_schema=False)
            appended.append(len(request.arrow_rows.rows.serialized_record_batch))

        def close(self) -> None:
            return

    return Sinks(sales=Requests(), rejected=Requests(), stream_rows=stream_rows)


def bytes_of_an_id(ids: int = 500_000) -> float:
    """Memory of an id that a stream remembers, by what the process grows."""
    import psutil  # noqa: PLC0415

    from celes_beam.stores.stream.seen import SeenIds  # noqa: PLC0415

    seen = SeenIds(10**12)
    before = psutil.Process().memory_info().rss
    for first in range(0, ids, BATCH):
        seen.add([f"{12_345_678_901_234_567 + first + n}" for n in range(BATCH)], first)
    grown = psutil.Process().memory_info().rss - before
    return float(grown / len(seen))
