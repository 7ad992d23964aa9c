"""Topics of the local Pub/Sub with generated sales in them, a part of them broken."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import run_process

PROJECT = "celes-dev"
BROKEN = 0.01
SEED = 7


@dataclass(frozen=True)
class Stream:
    """A topic with a subscription, and the table that its sales go to."""

    topic: str
    subscription: str
    table: str

    @classmethod
    def make(cls, name: str) -> Stream:
        """Make the topic and the subscription; the table is made by whoever writes to it."""
        from celes_beam.stores.messages.subscription import (  # noqa: PLC0415
            subscription_for_topic,
        )

        topic = f"projects/{PROJECT}/topics/{name}"
        facts = subscription_for_topic(topic, f"{name}-sub")
        return cls(topic, facts.path, f"{PROJECT}:bench.{name.replace('-', '_')}")

    def fill(self, messages: int) -> dict[str, Any]:
        """Put so many messages into the subscription; returns what ``celes-beam publish`` says."""
        with tempfile.TemporaryDirectory(prefix="celes-bench-") as name:
            summary = Path(name) / "summary.json"
            command = publishing(self.topic, summary, rate=0, flags=["--rows", str(messages)])
            run_process([sys.executable, *command])
            said: dict[str, Any] = json.loads(summary.read_text())
            return said


def publishing(topic: str, summary: Path, *, rate: float, flags: Sequence[str]) -> list[str]:
    """The arguments of ``python`` that publish sales to a topic."""
    fixed = ["--error_rate", str(BROKEN), "--seed", str(SEED), "--progress", "off"]
    return [
        *("-m", "celes_beam.cli", "publish", "--topic", topic, "--rate", str(rate)),
        *("--summary_json", str(summary), *fixed, *flags),
    ]
