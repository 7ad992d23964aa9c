"""What each stage costs a row: ``python -m benchmarks.scale_stages WAY ROWS FOLDER``.

    generate   make, check, split, encode, write, add up: what a worker does to a shard
    csv        the same from a CSV file in FOLDER, which is made when it is not there
    aggregate  the lake in FOLDER read and added up
    messages   messages checked, put into a journal and made rows of a table, in batches
    native     messages of Pub/Sub parsed and joined to chunks, as Dataflow's source needs
    flush      the entries of that journal read, and their rows staged for a lake

The stages are the functions that the pipelines call, timed where they are called. Prints a JSON
line. A process of its own, for what it imports and allocates is no other measurement's concern.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.scale_measured import AGGREGATE, CSV, FLUSH, GENERATE, MESSAGES, NATIVE, Stages
from benchmarks.scale_stopwatch import Stopwatch
from celes_beam.stores.share_out import share_out

BATCH = 5_000
"""Messages of a batch, as the streaming pipeline has them by default."""
_WARM_UP = 0.1

Work = Callable[[float, int], tuple[int, ...]]
"""Does a share of the work on so many threads; returns bytes read, written, and appended."""


def stages_of(way: str, rows: int, folder: Path) -> Stages:
    """Measure the stages of a way: a part of it to warm up, then timed, then untimed."""
    watch = Stopwatch()
    with ExitStack() as ends:
        work = _WAYS[way](rows, folder, watch, ends)
        work(_WARM_UP, 1)
        watch.seconds.clear()
        with ExitStack() as timed:
            for name, owner, function in _calls(way):
                timed.enter_context(watch.calls(name, owner, function))
            read, written, *appended = work(1.0, 1)
        seconds = dict(watch.seconds)
        whole = {threads: _seconds(work, threads) for threads in _threads(way)}
    return Stages(way, rows, read, written, seconds, whole, sum(appended))


def _threads(way: str) -> list[int]:
    # Batches of a stream go one after another.
    alone = way in (MESSAGES, NATIVE, FLUSH)
    return [1] if alone else sorted({1, os.cpu_count() or 1})


def _calls(way: str) -> list[tuple[str, object, str]]:
    from celes_beam.sales import decode_csv, scan  # noqa: PLC0415
    from celes_beam.sales.generate import Generator  # noqa: PLC0415
    from celes_beam.stores.inputs import read, sources  # noqa: PLC0415
    from celes_beam.stores.inputs.text_stream import TextStream  # noqa: PLC0415
    from celes_beam.stores.lake import staging  # noqa: PLC0415
    from celes_beam.stores.lake.parquet_writer import SalesFile  # noqa: PLC0415
    from celes_beam.stores.lake.partitioned_writer import PartitionedWriter  # noqa: PLC0415
    from celes_beam.stores.lake.staging_area import LocalStagingArea  # noqa: PLC0415
    from celes_beam.stores.stream import journal  # noqa: PLC0415
    from celes_beam.stores.stream.journal import Journal  # noqa: PLC0415

    into_lake: list[tuple[str, object, str]] = [
        ("add up", staging, "sum_batch"),
        ("split", PartitionedWriter, "write"),
        ("encode", SalesFile, "write_row_group"),
        ("write", SalesFile, "finish"),
        ("write", LocalStagingArea, "deliver"),
    ]
    return {
        GENERATE: [
            ("generate", Generator, "columns"),
            ("check", sources, "accept_typed"),
            *into_lake,
        ],
        CSV: [
            ("read", TextStream, "read"),
            ("decode", read, "decode_csv"),
            ("check", decode_csv, "accept_typed"),
            *into_lake,
        ],
        AGGREGATE: [("add up", scan, "sum_batch")],
        MESSAGES: [
            ("encode for the journal", journal, "encode_entry"),
            ("write the journal", Journal, "put"),
        ],
        NATIVE: [],
        FLUSH: [("read", Journal, "read"), *into_lake],
    }[way]


def _generate(rows: int, folder: Path, _: Stopwatch, __: ExitStack) -> Work:
    from celes_beam.config import load_config  # noqa: PLC0415
    from celes_beam.stores.inputs.sources import GeneratedSales  # noqa: PLC0415

    config = load_config(flags={"rows": rows})
    source = GeneratedSales(config, config.rules(datetime.now(UTC), generated=True))
    pieces = [piece for shard in source.shards() for piece in source.pieces(shard)]
    return _into_lake(source, pieces, folder / "staged")


def _csv(rows: int, folder: Path, _: Stopwatch, __: ExitStack) -> Work:
    from celes_beam.config import load_config  # noqa: PLC0415
    from celes_beam.stores.inputs.files import list_inputs  # noqa: PLC0415
    from celes_beam.stores.inputs.read_options import ReadOptions  # noqa: PLC0415
    from celes_beam.stores.inputs.sources import SalesFiles  # noqa: PLC0415

    path = folder / f"{rows}.csv"
    if not path.exists():
        from pipelines.generate import run  # noqa: PLC0415 - imports Beam

        run(["--rows", str(rows), "--output", str(path), "--progress", "off"])
    rules = load_config().rules(datetime.now(UTC), generated=False)
    source = SalesFiles(ReadOptions(), rules)
    ranges = source.plan(list_inputs([str(path)])[0])
    return _into_lake(source, ranges, folder / "staged")


def _into_lake(source: Any, pieces: list[Any], folder: Path) -> Work:
    from celes_beam.stores.lake.parquet_writer import Layout  # noqa: PLC0415
    from celes_beam.stores.lake.staging import StagingWriter, merge_staged  # noqa: PLC0415
    from celes_beam.stores.lake.staging_area import LocalStagingArea  # noqa: PLC0415

    def stage(mine: Iterator[Any]) -> Any:
        writer = StagingWriter(LocalStagingArea(str(folder)), Layout())
        for piece in mine:
            for checked in source.read(piece):
                writer.write(checked)
        return writer.close()

    def work(share: float, threads: int) -> tuple[int, ...]:
        mine = pieces[: max(1, round(len(pieces) * share))]
        staged = merge_staged(share_out(mine, stage, threads=threads))
        staged.reconcile()
        shutil.rmtree(folder)
        read = sum(source.progress_of(piece) for piece in mine if source.source_of(piece))
        return read, sum(f.bytes for f in staged.files)

    return work


def _aggregate(_: int, folder: Path, watch: Stopwatch, __: ExitStack) -> Work:
    from celes_beam.sales.scan import Questions, Scan  # noqa: PLC0415
    from celes_beam.stores.lake.lake_input import open_input  # noqa: PLC0415

    found = open_input(str(folder), datetime.now(UTC))
    pieces = [piece for file in found.files for piece in found.reader.plan(file)]
    questions = Questions()

    def scanned(mine: Iterator[Any], *, timed: bool) -> Any:
        scan = Scan(questions)
        for piece in mine:
            batches = found.reader.read(piece, questions.columns)
            for batch in watch.each("read and decode", batches) if timed else batches:
                scan.add(batch, piece.file.name, 0)
        return scan.result()

    def work(share: float, threads: int) -> tuple[int, ...]:
        mine = pieces[: max(1, round(len(pieces) * share))]
        # The stopwatch is of one thread; beside others it would count what they wait for.
        share_out(mine, lambda some: scanned(some, timed=threads == 1), threads=threads)
        return sum(piece.bytes for piece in mine), 0

    return work


def _messages(rows: int, folder: Path, watch: Stopwatch, _: ExitStack) -> Work:
    from celes_beam.sales.messages import check_messages  # noqa: PLC0415
    from celes_beam.stores.stream.delivery import Delivery  # noqa: PLC0415

    batches = _batches(rows)
    runs = iter(range(1_000))

    def check(messages: Any, rules: Any) -> Any:
        with watch.stage("decode and check"):
            return check_messages(messages, rules)

    def work(share: float, _: int) -> tuple[int, ...]:
        root = folder / f"journal-{next(runs)}"
        appended: list[int] = []
        sinks = _rows_alone(watch, appended)
        spec = _spec(journal=str(root))
        with Delivery(spec, sinks=lambda _: sinks, check=check) as delivery:
            for batch in batches[: max(1, round(len(batches) * share))]:
                delivery.deliver(batch)
        written = sum(entry.stat().st_size for entry in root.glob("*.entry"))
        return sum(batch.size for batch in batches), written, sum(appended)

    return work


def _native(rows: int, _: Path, watch: Stopwatch, __: ExitStack) -> Work:
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

    def work(share: float, _: int) -> tuple[int, ...]:
        join, at = _JoinFn(), Timestamp()
        join.start_bundle()
        some = joined[: max(1, round(len(joined) * share))]
        with watch.stage("parse and join"):
            for data in some:
                for _ in join.process(PubsubMessage._from_proto_str(data), at):
                    pass
        list(join.finish_bundle())
        return sum(map(len, some)), 0

    return work


def _flush(rows: int, folder: Path, _: Stopwatch, ends: ExitStack) -> Work:
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

    def work(share: float, _: int) -> tuple[int, ...]:
        journal, lake = Journal.open(str(root)), Lake.open(str(folder / f"flushed-{next(runs)}"))
        listing = journal.listing()
        names = list(listing.entries)
        some = names[: max(1, round(len(names) * share))]
        flusher = Flusher(lake, journal, "flush", Layout(), _spec().message_rules.source)
        commits = flusher.flush(listing, some)
        read = sum(listing.entries[name].size for name in some)
        return read, sum(commit.bytes for commit in commits)

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


def _seconds(work: Work, threads: int) -> float:
    started = time.perf_counter()
    work(1.0, threads)
    return time.perf_counter() - started


_WAYS: dict[str, Callable[[int, Path, Stopwatch, ExitStack], Work]] = {
    GENERATE: _generate,
    CSV: _csv,
    AGGREGATE: _aggregate,
    MESSAGES: _messages,
    NATIVE: _native,
    FLUSH: _flush,
}


def main(way: str, rows: str, folder: str) -> None:
    """Measure, and print."""
    if way == "id":
        print(msgspec.json.encode(bytes_of_an_id(int(rows))).decode())
        return
    print(msgspec.json.encode(stages_of(way, int(rows), Path(folder))).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
