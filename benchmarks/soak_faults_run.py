"""All that runs at once in a soak under kills and faults, from the beginning to the last row."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.soak_faults_checks import file_checks, stream_checks
from benchmarks.soak_faults_ledger import Landing, Publisher
from benchmarks.soak_faults_load import Load
from benchmarks.soak_faults_looks import LakeLook, TableLook
from benchmarks.soak_faults_network import Network
from benchmarks.soak_faults_processes import Command, Errand, Kept, Losses
from benchmarks.topics import PROJECT, Stream

if TYPE_CHECKING:
    from benchmarks.soak_checks import Check
    from celes_beam.local.servers import Server

_BUCKET = "soak"
_STREAM_LAKE = f"gs://{_BUCKET}/lago"
_FILES_LAKE = f"gs://{_BUCKET}/lago-archivos"
_FILES_TABLE = f"{PROJECT}:bench.soak_files"
_LOOK_SECONDS = 0.2
_LOOKS_EVERY = 40.0
_TOLD_EVERY = 60.0
_END_SECONDS = 180.0
_DRAIN_SECONDS = 900.0
# Messages that a killed process held come again when its lease has ended, after a minute.
_IDLE_SECONDS = 75.0
_LIVES = (20.0, 90.0)
_KILLED = 0.4


class Soak:
    """All that runs, in ``folder``; servers are there, and found by this process directly."""

    def __init__(self, folder: Path, servers: dict[str, Server], flags: argparse.Namespace) -> None:
        from celes_beam.local.servers import storage_folder  # noqa: PLC0415
        from celes_beam.sales.traffic import SALE  # noqa: PLC0415
        from celes_beam.stores.cloud.clients import storage_client  # noqa: PLC0415

        self._folder, self._flags = folder, flags
        self._stored = storage_folder(folder)
        self._stack = ExitStack()
        self._chance = random.Random(flags.seed)
        self.problems: list[str] = []
        self.losses = Losses(problems=self.problems)
        bucket = storage_client(PROJECT).create_bucket(_BUCKET)
        self._stream, self._letters = Stream.make("soak"), Stream.make("soak-rejected")
        self.network = self._stack.enter_context(
            Network(
                servers["storage"],
                servers["bigquery"],
                servers["pubsub"],
                self._a_chance(),
                flags.fault_share,
            )
        )
        self.publisher = Publisher(
            self._stream.topic, flags.rate, flags.seed, folder, self.network.environment
        )
        self._stack.callback(self.publisher.stop)
        self.landing = Landing(bucket, flags.seed, self._a_chance())
        self._streaming = [
            *("pipelines.streaming", "--subscription", self._stream.subscription),
            *("--bigquery_table", self._stream.table, "--output", _STREAM_LAKE),
            *("--delivery", "exactly_once", "--dead_letter_topic", self._letters.topic),
            *("--id_attribute", SALE, "--dedupe_minutes", "5", "--lake_flush_seconds", "15"),
            *("--max_batch_seconds", "2", "--progress", "off"),
        ]
        self._watching = [
            *("pipelines.batch", "--input", f"gs://{_BUCKET}/entrada/", "--output", _FILES_LAKE),
            *("--watch", "8", "--bigquery_table", _FILES_TABLE, "--progress", "off"),
        ]
        self.kept = [self._keep("stream", self._streaming), self._keep("watch", self._watching)]
        self.lakes, self.tables = self._looks()
        self.errands = self._errands()
        self.load = Load({name: server.process.pid for name, server in servers.items()})

    def _a_chance(self) -> random.Random:
        return random.Random(self._chance.randrange(2**32))

    def folder_of(self, lake: str) -> Path:
        """Where the objects of a lake are on this machine."""
        return self._stored / lake.removeprefix("gs://")

    def _command(self, name: str, words: Sequence[str], log: str = "") -> Command:
        path = self._folder / f"{log or name}.log"
        return Command(name, words, self.network.environment, path)

    def _keep(self, name: str, words: list[str]) -> Kept:
        kept = Kept(self._command(name, words), self.losses, self._a_chance(), _LIVES)
        return self._stack.enter_context(kept)

    def _looks(self) -> tuple[tuple[LakeLook, ...], tuple[TableLook, ...]]:
        from celes_beam.stores.warehouse.table_name import parse_table_name  # noqa: PLC0415

        def published() -> int:
            return self.publisher.at_most

        def arrived() -> int:
            return self.landing.expected.accepted

        stream, files = map(parse_table_name, (self._stream.table, _FILES_TABLE))
        lakes = [
            LakeLook(lake, self.folder_of(lake), at_most, self.problems)
            for lake, at_most in ((_STREAM_LAKE, published), (_FILES_LAKE, arrived))
        ]
        return tuple(lakes), (
            TableLook(stream, published, self.problems, "_message_id"),
            TableLook(files, arrived, self.problems),
        )

    def _errands(self) -> list[Errand]:
        found = []
        for look in self.lakes:
            summary = self._folder / f"{look.folder.name}.json"
            aggregate = [
                *("pipelines.aggregate", "--input", look.root, "--progress", "off"),
                *("--summary_json", str(summary)),
            ]
            lake = ["celes_beam.cli", "lake"]
            for words, every, killed, done in (
                ([*lake, "compact", look.root], (60.0, 180.0), _KILLED, _nothing),
                ([*lake, "verify", "--json", look.root], (120.0, 300.0), 0.0, look.verified),
                (aggregate, (240.0, 480.0), 0.0, look.aggregated(summary)),
            ):
                name = words[2] if words[1] == "lake" else "aggregate"
                errand = Errand(
                    self._command(name, words, f"{name}-{look.folder.name}"),
                    self.losses,
                    self._a_chance(),
                    every,
                    look.has_rows,
                    killed,
                    done,
                )
                found.append(self._stack.enter_context(errand))
        return found

    def run(self, seconds: float) -> None:
        """Let all go on for so long, with a line every minute."""
        began = time.monotonic()
        looked = told = began
        at = 0
        while (now := time.monotonic()) < began + seconds:
            for part in (self.network, self.landing, *self.kept, *self.errands):
                part.look()  # type: ignore[attr-defined]
            self.publisher.look(began + seconds - now)
            if now - looked >= _LOOKS_EVERY / len([*self.lakes, *self.tables]):
                looked, at = now, at + 1
                order = (self.lakes[0], self.tables[0], self.lakes[1], self.tables[1])
                self._look(order[at % len(order)])
            if now - told >= _TOLD_EVERY:
                told = now
                self.tell(now - began)
            time.sleep(_LOOK_SECONDS)
        self.tell(seconds)

    def _look(self, look: LakeLook | TableLook) -> None:
        try:
            look.look()
        except Exception as error:  # noqa: BLE001 - an hour is not to end without its report
            self.problems.append(f"{look}: {type(error).__name__}: {error}")

    def tell(self, seconds: float) -> None:
        """Print how things stand."""
        ours, theirs, processor = self.load.look([*(k.pid for k in self.kept), self.publisher.pid])
        kills = ", ".join(f"{name} {n}" for name, n in sorted(self.losses.kills.items()))
        print(
            f"{seconds / 60:5.1f} min  sent {self.publisher.at_most:,} rows and "
            f"{self.landing.files} files; lakes {self.lakes[0].rows:,} + {self.lakes[1].rows:,}, "
            f"tables {self.tables[0].rows:,} + {self.tables[1].rows:,}; killed: {kills or 'none'}; "
            f"gave up {self.losses.gave_up.total()}; faults "
            f"{sum(self.network.happened.values()):,} of {self.network.requests.total():,} "
            f"requests, outages {self.network.outages.total()}; memory {ours:,.0f} MB, servers "
            f"{theirs:,.0f} MB; {processor:.0%} of a core; problems {len(self.problems)}",
            flush=True,
        )

    def drain(self) -> None:
        """Without faults from now on, let everything arrive, and all end as it should."""
        while self.publisher.look(0):
            self.network.look()
            time.sleep(_LOOK_SECONDS)
        self.network.heal()
        self.problems += self.publisher.problems
        for errand in self.errands:
            errand.__exit__()
        for kept in self.kept:
            if code := kept.end(_END_SECONDS):
                self.problems.append(f"{kept.name} ended with {code} when asked to")
        ends: list[tuple[str, list[str]]] = [
            ("stream", [*self._streaming, "--idle_timeout", str(_IDLE_SECONDS)]),
            ("watch", [*self._watching, "--idle_rounds", "2"]),
        ]
        ends += [
            (f"compact {look.folder.name}", ["celes_beam.cli", "lake", "compact", look.root])
            for look in self.lakes
        ]
        for name, command in ends:
            last = self._command(name, command, name.replace(" ", "-")).start()
            self._stack.callback(last.kill)
            if code := last.process.wait(_DRAIN_SECONDS):
                self.problems.append(f"{name} failed at the end ({code}): {last.output[-500:]}")
            self.losses.note(name, 0, last.output)

    def checks(self) -> list[Check]:
        """Compare all that was sent with all that is there."""
        for lake in self.lakes:
            lake.look()
        for table in self.tables:
            table.look()
        return [
            *stream_checks(
                self._stream, self._letters, _STREAM_LAKE, self.folder_of, self.publisher
            ),
            *file_checks(_FILES_TABLE, _FILES_LAKE, self.folder_of, self.landing),
        ]

    def __enter__(self) -> Soak:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _nothing(code: int, output: str) -> None:
    """How a compaction ended is noted, and no more to be learnt of it."""
