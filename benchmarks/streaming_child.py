"""One measurement's own process, for streams: ``python -m benchmarks.streaming_child WAY …``.

    pull SUBSCRIPTION MESSAGES           messages pulled and acked, and nothing done about them
    append TABLE ROWS                    rows appended in batches, made before
    straightforward SUBSCRIPTION TABLE ROWS    as Beam's examples do, until they are there

Prints a JSON line: the seconds of the work, without the start.
"""

from __future__ import annotations

import json
import os
import sys
import time

BATCH = 5_000
_PATIENCE_SECONDS = 300.0


def pull(subscription: str, messages: int) -> float:
    """Pull and ack so many messages as ``pipelines.streaming`` does; returns seconds."""
    from celes_beam.stores.messages.receiver import Receiver  # noqa: PLC0415

    receiver = Receiver(subscription, ack_deadline=60, limit=messages)
    started = time.perf_counter()
    receiver.start()
    done = 0
    while done < messages:
        held = receiver.take(
            max_rows=BATCH, max_bytes=8 * 2**20, max_seconds=1.0, wait_seconds=_PATIENCE_SECONDS
        )
        if held is None:
            raise TimeoutError(f"{done:,} of {messages:,} messages came")
        receiver.ack(held)
        done += len(held)
    seconds = time.perf_counter() - started
    receiver.close()
    return seconds


def append(table: str, rows: int) -> float:
    """Append so many rows in batches of 5,000 to a table's default stream; returns seconds."""
    import pyarrow as pa  # noqa: PLC0415

    from celes_beam.config import load_config  # noqa: PLC0415
    from celes_beam.sales.generate import Generator  # noqa: PLC0415
    from celes_beam.stores.warehouse.stream_tables import make_stream, stream_batch  # noqa: PLC0415
    from celes_beam.stores.warehouse.table_name import parse_table_name  # noqa: PLC0415
    from celes_beam.stores.warehouse.tables import Destination  # noqa: PLC0415
    from celes_beam.stores.warehouse.write_streams import WriteStreams  # noqa: PLC0415

    name = parse_table_name(table)
    make_stream(Destination(name))
    generator = Generator(load_config())
    batches = []
    for first in range(0, rows, BATCH):
        size = min(BATCH, rows - first)
        ids = pa.array([str(first + i) for i in range(size)])
        batches.append(stream_batch(generator.batch(first, size), ids, time.time_ns() // 1000))
    with WriteStreams(name) as streams:
        started = time.perf_counter()
        for batch in batches:
            streams.append(batch)
        return time.perf_counter() - started


def main(way: str, *given: str) -> float:
    """Do the work that is asked for."""
    if way == "straightforward":
        from benchmarks.streaming_peer import straightforward  # noqa: PLC0415

        return straightforward(given[0], given[1], int(given[2]))
    return {"pull": pull, "append": append}[way](given[0], int(given[1]))


if __name__ == "__main__":
    print(json.dumps({"seconds": main(*sys.argv[1:])}), flush=True)
    # Beam's own stream never ends.
    os._exit(0)
