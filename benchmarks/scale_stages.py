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
from statistics import median
from typing import Any, NamedTuple

import msgspec

from benchmarks.scale_measured import AGGREGATE, CSV, FLUSH, GENERATE, MESSAGES, NATIVE, Stages
from benchmarks.scale_stopwatch import Stopwatch
from benchmarks.scale_stream_stages import bytes_of_an_id, flush, messages, native
from benchmarks.scale_work import Done, Work
from celes_beam.stores.share_out import share_out

_FEW = 0.25
"""A share that is done as well: what it does not take less is not the rows'."""
_ROUNDS = 3


def stages_of(way: str, rows: int, folder: Path) -> Stages:
    """Measure the stages of a way: a part of it to warm up, then timed, then untimed."""
    watch = Stopwatch(time.process_time)
    with ExitStack() as ends:
        work = _WAYS[way](rows, folder, watch, ends)
        few_rows = work(_FEW, 1).rows
        watch.seconds.clear()
        with ExitStack() as timed:
            for name, owner, function in _calls(way):
                timed.enter_context(watch.calls(name, owner, function))
            done = [work(1.0, 1) for _ in range(_ROUNDS)][-1]
        seconds = {stage: took / _ROUNDS for stage, took in watch.seconds.items()}
        whole = {threads: _seconds(work, 1.0, threads) for threads in _threads(way)}
        few = {threads: _seconds(work, _FEW, threads) for threads in _threads(way)}
    return Stages(
        way=way,
        rows=done.rows,
        bytes_read=done.read,
        bytes_written=done.written,
        seconds=seconds,
        whole={threads: took.clock for threads, took in whole.items()},
        few_rows=few_rows,
        few={threads: took.clock for threads, took in few.items()},
        whole_cpu={threads: took.cpu for threads, took in whole.items()},
        few_cpu={threads: took.cpu for threads, took in few.items()},
        bytes_appended=done.appended,
    )


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
    calls: dict[str, list[tuple[str, object, str]]] = {
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
    }
    return calls[way]


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

    def work(share: float, threads: int) -> Done:
        mine = pieces[: max(1, round(len(pieces) * share))]
        staged = merge_staged(share_out(mine, stage, threads=threads))
        staged.reconcile()
        shutil.rmtree(folder)
        read = sum(source.progress_of(piece) for piece in mine if source.source_of(piece))
        return Done(staged.rows_read, read, sum(f.bytes for f in staged.files))

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

    def work(share: float, threads: int) -> Done:
        mine = pieces[: max(1, round(len(pieces) * share))]
        # The stopwatch is of one thread; beside others it would count what they wait for.
        share_out(mine, lambda some: scanned(some, timed=threads == 1), threads=threads)
        return Done(sum(piece.rows for piece in mine), sum(piece.bytes for piece in mine))

    return work


class _Took(NamedTuple):
    """Seconds by the clock, and of processors."""

    clock: float
    cpu: float


def _seconds(work: Work, share: float, threads: int) -> _Took:
    """The medians of some rounds."""
    took = []
    for _ in range(_ROUNDS):
        started = time.perf_counter(), time.process_time()
        work(share, threads)
        took.append((time.perf_counter() - started[0], time.process_time() - started[1]))
    return _Took(*map(median, zip(*took, strict=True)))


_WAYS: dict[str, Callable[[int, Path, Stopwatch, ExitStack], Work]] = {
    GENERATE: _generate,
    CSV: _csv,
    AGGREGATE: _aggregate,
    MESSAGES: messages,
    NATIVE: native,
    FLUSH: flush,
}


def main(way: str, rows: str, folder: str) -> None:
    """Measure, and print."""
    if way == "id":
        print(msgspec.json.encode(bytes_of_an_id(int(rows))).decode())
        return
    print(msgspec.json.encode(stages_of(way, int(rows), Path(folder))).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
