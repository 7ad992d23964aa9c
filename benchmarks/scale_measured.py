"""What ``benchmarks.scale`` measured, as it is kept in ``scale_measured.json``."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec

FILE = Path(__file__).with_name("scale_measured.json")

GENERATE, CSV, AGGREGATE = "generate", "csv", "aggregate"
MESSAGES, NATIVE, FLUSH = "messages", "native", "flush"


class Stages(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stages of ``rows`` rows (or messages) on one thread.

    ``seconds`` are those of a processor, of each stage by itself. ``whole`` are seconds of all the
    work, without the stopwatch, by the number of threads that shared it, and ``few`` those of
    ``few_rows`` of the rows; ``whole_cpu`` and ``few_cpu`` are of processors, likewise.
    ``bytes_appended`` are those of requests to a table.
    """

    way: str
    rows: int
    bytes_read: int
    bytes_written: int
    seconds: dict[str, float]
    whole: dict[int, float]
    few_rows: int
    few: dict[int, float]
    whole_cpu: dict[int, float]
    few_cpu: dict[int, float]
    bytes_appended: int = 0

    def per_row(self, threads: int = 1) -> float:
        """Seconds of one more row when so many threads share the work; of most, if fewer did."""
        most = self._most(threads)
        return (self.whole[most] - self.few[most]) / (self.rows - self.few_rows)

    def cpu_per_row(self, threads: int = 1) -> float:
        """Seconds of processors that one more row takes, likewise."""
        most = self._most(threads)
        return (self.whole_cpu[most] - self.few_cpu[most]) / (self.rows - self.few_rows)

    def _most(self, threads: int) -> int:
        return max(n for n in self.whole if n <= max(threads, min(self.whole)))


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whole runs of a command; ``seconds`` of its pipeline in each round, start-up not counted.

    ``cpu_seconds`` are those of processors that all of its process took, start-up as well.
    ``slots`` is how many workers (threads, or slots of Flink) shared it. ``is_checked`` says that
    DuckDB found the same sums in its lake.
    """

    way: str
    rows: int
    slots: int
    seconds: tuple[float, ...]
    process_seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    peak_mb: float
    files: int = 0
    bytes: int = 0
    total: str = ""
    is_checked: bool = False

    @property
    def middle(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)

    @property
    def cpu(self) -> float:
        """The median of the seconds of processors."""
        return median(self.cpu_seconds)


class Requests(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run into the local Cloud Storage and BigQuery: requests by service and kind.

    ``upload_seconds`` are of all deliveries added up, several of which went on at once;
    ``manifest_bytes`` those of the decision.
    """

    rows: int
    files: int
    bytes: int
    requests: dict[str, int]
    manifest_bytes: int
    upload_seconds: float
    load_seconds: float


class Graph(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes of a job's graph: of one without inputs, and for each shard or input file."""

    fixed: int
    a_shard: float
    a_file: float


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds of ``messages`` messages against the local Pub/Sub and BigQuery, by way.

    ``few`` are those of ``few_messages``, of the ways that are whole streams.
    """

    messages: int
    seconds: dict[str, float]
    few_messages: int = 0
    few: dict[str, float] = {}


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of it; parts that were not measured are empty or ``None``.

    ``about`` is the machine, ``loads`` its load average before and after each part was measured:
    more than the cores says that others had a share of it.
    """

    about: str = ""
    loads: dict[str, tuple[float, float]] = {}
    cores: int = 0
    stages: dict[str, Stages] = {}
    runs: tuple[Run, ...] = ()
    flink: tuple[Run, ...] = ()
    requests: tuple[Requests, ...] = ()
    graph: Graph | None = None
    stream: Stream | None = None
    bytes_of_an_id: float = 0.0

    def of(self, way: str) -> list[Run]:
        """The whole runs of a way, by their rows."""
        return sorted((r for r in self.runs if r.way == way), key=lambda run: run.rows)


def read_measured(path: Path = FILE) -> Measured:
    """Read what was measured last; nothing when there is no file."""
    if not path.exists():
        return Measured()
    return msgspec.json.decode(path.read_bytes(), type=Measured)


def write_measured(measured: Measured, path: Path = FILE) -> None:
    """Keep what was measured."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(measured), indent=1) + b"\n")
