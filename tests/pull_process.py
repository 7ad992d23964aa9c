"""A pipeline of our Pub/Sub source and a sink that appends numbers to a file; for tests.

    python -m tests.pull_process SUBSCRIPTION OUT {"settings": "of PullMessages", …} [flags of Beam]

SIGTERM ends it. It prints a line of JSON of how it ended.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from typing import Any

import apache_beam as beam

from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.pulling import pulling
from celes_beam.transforms.options import beam_options, is_local, new_pipeline
from celes_beam.transforms.pubsub import PullMessages

RUN_ID = "pull"


class AppendNumbers(beam.DoFn):
    """Writes the messages of a batch, each a line, and takes its time."""

    def __init__(self, out: str, seconds: float = 0.0, *, fails: bool = False) -> None:
        self._out = out
        self._seconds = seconds
        self._fails = fails

    def process(self, messages: Messages) -> None:
        if self._fails:
            raise ValueError("the sink is broken")
        with open(self._out, "ab") as out:  # noqa: PTH123 - a path would be opened the same way
            out.write(b"".join(data.strip() + b"\n" for data in messages.data))
            out.flush()
            os.fsync(out.fileno())
        time.sleep(self._seconds)


def main(subscription: str, out: str, settings: dict[str, Any], flags: list[str]) -> None:
    seconds = settings.pop("sink_seconds", 0.0)
    options = beam_options(flags)
    pipeline = new_pipeline(options)
    (
        pipeline
        | PullMessages(subscription, RUN_ID, **settings)
        | beam.ParDo(AppendNumbers(out, seconds))
    )

    def stop(*_: object) -> None:
        pulling(RUN_ID).stop()

    if is_local(options):
        signal.signal(signal.SIGTERM, stop)
    result = pipeline.run()
    # Beam's own handler, set as Prism starts, would kill Prism first.
    signal.signal(signal.SIGTERM, stop)
    result.wait_until_finish()
    ended = pulling(RUN_ID)
    figures = dataclasses.asdict(ended.figures())
    print(json.dumps({"state": result.state, "ended_by": ended.ended_by, **figures}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4:])
