"""Requests to Cloud Storage and BigQuery, and the graph of a job: ``python -m … WAY …``.

    batch ROWS FOLDER PARTITIONS  a run into the local servers of the environment, in this process
    graph                         bytes of a job's graph, for so many shards and input files

Prints a JSON line. What Arrow's C++ client asks of a bucket is not counted: it reads inputs alone.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import msgspec

from benchmarks.scale_measured import Graph, Requests
from celes_beam.stores.cloud.clients import bigquery_client

UPLOAD, BEGIN, PIECE = "upload", "begin an upload", "piece of an upload"
REWRITE, DELETE, LIST, GET = "rewrite", "delete", "list", "get"
BIGQUERY = "BigQuery"
CLASS_A = (UPLOAD, BEGIN, REWRITE, LIST)
"""What Cloud Storage counts as operations of class A; the pieces of an upload are a part of it."""
_MANY = 2_000


class Clock:
    """Seconds of calls by any number of threads, added up."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock = threading.Lock()

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose calls are timed."""

        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                with self._lock:
                    self.seconds += time.perf_counter() - started

        return timed


def kind_of(method: str, url: str, bigquery: str) -> str:
    """The kind of a request by its method and URL; ``bigquery`` begins those to BigQuery."""
    if bigquery and url.startswith(bigquery):
        return BIGQUERY
    parts = urlsplit(url)
    if parts.path.startswith(("/upload/", "/resumable/")) or "upload_id=" in parts.query:
        if method == "PUT":
            return PIECE
        return BEGIN if "uploadType=resumable" in parts.query else UPLOAD
    if "/rewriteTo/" in parts.path:
        return REWRITE
    if method == "DELETE":
        return DELETE
    return LIST if parts.path.endswith("/o") else GET


def batch(rows: int, folder: str, partition_by: str) -> Requests:
    """Generate rows into a lake in the local bucket, load them, and count the requests."""
    import requests  # noqa: PLC0415

    from celes_beam.stores.cloud.deliver import deliver_file  # noqa: PLC0415
    from celes_beam.stores.lake import gcs_staging  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.stores.lake.manifest import encode  # noqa: PLC0415
    from celes_beam.stores.warehouse.warehouse import Warehouse  # noqa: PLC0415
    from pipelines.batch import run  # noqa: PLC0415

    counts: Counter[str] = Counter()
    lock = threading.Lock()
    sent = requests.Session.request
    bigquery = str(bigquery_client("celes-dev")._connection.API_BASE_URL)
    uploads, loads = Clock(), Clock()

    def counted(session: Any, method: str, url: str, *given: Any, **named: Any) -> Any:
        with lock:
            counts[kind_of(method, url, bigquery)] += 1
        return sent(session, method, url, *given, **named)

    name = folder.rsplit("/", 1)[-1].replace("-", "_")
    to = ["--output", folder, "--bigquery_table", f"celes-dev:scale.{name}"]
    layout = ["--partition_by", partition_by]
    with (
        patch.object(requests.Session, "request", counted),
        patch.object(gcs_staging, "deliver_file", uploads.around(deliver_file)),
        patch.object(Warehouse, "load", loads.around(Warehouse.load)),
    ):
        summary = run(["--rows", str(rows), *to, *layout, "--progress", "off"]).to_dict()
    manifest = Lake.open(folder).find(summary["run_id"])
    return Requests(
        rows=rows,
        files=summary["files"],
        bytes=summary["bytes"],
        requests=dict(counts),
        manifest_bytes=len(encode(manifest)) if manifest else 0,
        upload_seconds=uploads.seconds,
        load_seconds=loads.seconds,
    )


def graph() -> Graph:
    """Bytes of the graph of a job, by one without shards, and two with many."""
    bare = _graph_bytes(["--rows", "1"], 0)
    shards = _graph_bytes(["--rows", str(_MANY), "--batch_rows", "1"], 0)
    none, files = (_graph_bytes(["--input", "gs://bucket/in/"], n) for n in (1, _MANY))
    return Graph(bare, (shards - bare) / (_MANY - 1), (files - none) / (_MANY - 1))


def _graph_bytes(flags: list[str], files: int) -> int:
    from celes_beam.commands.batch_options import batch_options  # noqa: PLC0415
    from celes_beam.commands.flags import parse_flags  # noqa: PLC0415
    from celes_beam.commands.pipeline_parsers import batch_parser  # noqa: PLC0415
    from celes_beam.stores.inputs.files import InputFile  # noqa: PLC0415
    from celes_beam.stores.lake.lake import Lake  # noqa: PLC0415
    from celes_beam.transforms.options import beam_options, new_pipeline  # noqa: PLC0415
    from pipelines.batch_round import build, draft_of  # noqa: PLC0415

    parsed, _ = parse_flags(batch_parser(), [*flags, "--output", "gs://bucket/lake"])
    options = batch_options(parsed)
    # Sizes and generations of real objects do not follow one another, and compress badly.
    odd = random.Random(files)
    inputs = [
        InputFile(
            f"gs://bucket/in/2025/{n % 12 + 1:02d}/ventas-{n:08d}.csv",
            odd.randrange(10**9),
            str(odd.randrange(10**15, 2 * 10**15)),
        )
        for n in range(files)
    ]
    pipeline = new_pipeline(beam_options([], []))
    draft = draft_of(options, inputs)
    build(pipeline, options, Lake.open("gs://bucket/lake"), draft, inputs, threads=1)
    return int(pipeline.to_runner_api().ByteSize())


def main(way: str, *given: str) -> None:
    """Measure, and print."""
    found = graph() if way == "graph" else batch(int(given[0]), given[1], given[2])
    print(msgspec.json.encode(found).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
