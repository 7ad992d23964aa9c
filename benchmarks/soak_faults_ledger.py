"""What was sent, by messages and in files, and what must have come of it, to the cent."""

from __future__ import annotations

import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.soak_faults_processes import Command, Running
from benchmarks.topics import publishing
from celes_beam.config import load_config
from celes_beam.contract import Reason
from celes_beam.sales.breakage import break_csv, break_json, plan_breakage
from celes_beam.sales.encode_csv import HEADER
from celes_beam.sales.generate import Generator
from celes_beam.sales.traffic import sale_name, what_was_published

BROKEN = 0.02
LATE = 0.05
TWICE = 0.03
_FILE_SEEDS = 500_000
_NO_SALES = b"no,sales,at,all\n1,2,3,4\n"
_BAD = 0.05
_FIRST_BAD = 5
_LOWEST, _HIGHEST = 500, 4_000


@dataclass
class Expected:
    """What must be there: accepted rows with their ids, their sum, and rejected ones by reason."""

    accepted: int = 0
    total: Decimal = Decimal("0.00")
    ids: list[npt.NDArray[np.int64]] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)

    def add(self, seed: int, rows: int) -> npt.NDArray[np.int64]:
        """Add the first rows of a seed; returns the numbers of those that are accepted."""
        sent = what_was_published(seed, 0, rows, BROKEN, knows_names=False)
        amounts = sent.accepted["cantidad_de_venta"].to_pylist()
        self.accepted += len(amounts)
        self.total += sum(amounts, Decimal("0.00"))
        self.ids.append(sent.accepted["id_cliente"].to_numpy())
        self.rejected.update({str(reason): n for reason, n in sent.rejected.items() if n})
        numbers: npt.NDArray[np.int64] = sent.rows.to_numpy()
        return numbers

    @property
    def sum_of_ids(self) -> int:
        """The ids of all accepted rows, added up."""
        return int(sum(int(ids.sum()) for ids in self.ids))

    @property
    def rejected_rows(self) -> int:
        """All rejected rows."""
        return self.rejected.total()


@dataclass(frozen=True)
class Sent:
    """A run of ``celes-beam publish`` that has ended: rows 0 to ``rows - 1`` of a seed."""

    seed: int
    rows: int
    messages: int
    copies: int


class Publisher:
    """Runs of ``celes-beam publish``, one after another, each with a seed of its own."""

    def __init__(
        self, topic: str, rate: float, seed: int, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.sent: list[Sent] = []
        self.problems: list[str] = []
        self._topic = topic
        self._rate = rate
        self._seed = seed * 1_000
        self._folder = folder
        self._environment = environment
        self._running: Running | None = None

    @property
    def pid(self) -> int | None:
        """Its process, if it runs now."""
        return self._running.process.pid if self._running else None

    @property
    def at_most(self) -> int:
        """Rows that can have been sent by now."""
        going = 0.0
        if self._running is not None:
            # A sender that was late catches up, but is not ahead of its time by more than a second.
            going = (time.monotonic() - self._running.began + 1) * self._rate
        return sum(sent.rows for sent in self.sent) + int(going)

    def look(self, left: float) -> bool:
        """Start the next run while seconds are left; returns whether one is under way."""
        if self._running is not None:
            code = self._running.process.poll()
            if code is None:
                return True
            if code:
                self.problems.append(f"celes-beam publish failed: {self._running.output[-500:]}")
            else:
                self._note()
            self._running = None
        if left <= 1:
            return False
        self._seed += 1
        shares = {"error_rate": BROKEN, "late_share": LATE, "duplicate_share": TWICE}
        flags = [text for name, value in shares.items() for text in (f"--{name}", str(value))]
        flags += ["--seed", str(self._seed), "--rows", str(round(min(left, 120) * self._rate))]
        command = publishing(self._topic, self._summary, rate=self._rate, flags=flags)
        log = self._folder / "publish.log"
        self._running = Command("publish", command[1:], self._environment, log).start()
        return True

    def expected(self) -> tuple[Expected, dict[str, tuple[int, int]], set[str]]:
        """What must come of all runs.

        With it, by seed, the accepted rows and the sum of their numbers; and the names of rejected
        messages.
        """
        expected = Expected()
        by_seed: dict[str, tuple[int, int]] = {}
        rejected: set[str] = set()
        for sent in self.sent:
            numbers = expected.add(sent.seed, sent.rows)
            by_seed[str(sent.seed)] = (len(numbers), int(numbers.sum()))
            wrong = np.setdiff1d(np.arange(sent.rows), numbers)
            rejected.update(sale_name(sent.seed, row) for row in wrong.tolist())
        return expected, by_seed, rejected

    @property
    def _summary(self) -> Path:
        return self._folder / f"published-{self._seed}.json"

    def _note(self) -> None:
        said: dict[str, Any] = json.loads(self._summary.read_text())
        self.sent.append(Sent(self._seed, said["rows"], said["messages"], said["messages_twice"]))

    def stop(self) -> None:
        """End the run under way; what it sent is not known then."""
        if self._running is not None:
            self._running.kill()


class Landing:
    """Files that arrive in a bucket: CSV and NDJSON, plain or packed; some are no sales."""

    def __init__(self, bucket: Any, seed: int, chance: random.Random) -> None:
        self.files = 0
        self.bad: list[str] = []
        self.expected = Expected()
        self._bucket = bucket
        self._seed = _FILE_SEEDS + seed * 1_000
        self._chance = chance
        self._next = 0.0

    def look(self) -> None:
        """Put the next file when it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._chance.uniform(4.0, 14.0)
        self._seed += 1
        kind = self._chance.choice(("csv", "csv.gz", "ndjson", "ndjson.gz"))
        # Also in a short run there is to be one.
        if self._chance.random() < _BAD or self.files == _FIRST_BAD:
            self._put_bad(kind)
        else:
            self._put_sales(kind)

    def _put_sales(self, kind: str) -> None:
        rows = self._chance.randrange(_LOWEST, _HIGHEST)
        # Counted first: a look at the lake between both must not find more than was sent.
        self.expected.add(self._seed, rows)
        data = file_of_sales(self._seed, rows, kind)
        self._put(f"ventas-{self._seed}.{kind}", data)
        self.files += 1

    def _put_bad(self, kind: str) -> None:
        name = f"malo-{self._seed}.{kind}"
        data = (
            _NO_SALES
            if not kind.endswith("gz")
            else file_of_sales(self._seed, _LOWEST, kind)[:2_000]
        )
        if kind == "ndjson":
            name, data = f"malo-{self._seed}.parquet", b"PAR1 of no use PAR1"
        self.bad.append(name)
        self.expected.rejected[str(Reason.MALFORMED)] += 1
        self._put(name, data)
        self.files += 1

    def _put(self, name: str, data: bytes) -> None:
        self._bucket.blob(f"entrada/{name}").upload_from_string(data)


def file_of_sales(seed: int, rows: int, kind: str) -> bytes:
    """The first rows of a seed, some of them broken; ``kind`` is csv or ndjson, and perhaps .gz."""
    config = load_config().model_copy(update={"seed": seed})
    columns = Generator(config).columns(0, rows)
    broken = plan_breakage(seed, 0, rows, BROKEN)
    if kind.startswith("csv"):
        data = HEADER + break_csv(columns, *broken).to_pybytes()
    else:
        data = _lines(break_json(columns, *broken))
    return gzip.compress(data, 1, mtime=0) if kind.endswith(".gz") else data


def _lines(objects: Iterable[bytes]) -> bytes:
    return b"".join(text + b"\n" for text in objects)
