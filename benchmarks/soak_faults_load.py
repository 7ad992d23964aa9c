"""What a soak takes: memory of its processes and of the local servers, apart; the processor."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from celes_beam.local.processes import process_library

_BYTES_PER_MB = 1_000_000


class Load:
    """Looks at processes; ``servers`` are the ids of theirs, by their names.

    ``samples`` has, of each look, the seconds since the first moment and MB of memory of each.
    """

    def __init__(self, servers: Mapping[str, int]) -> None:
        self.samples: list[dict[str, float]] = []
        self._psutil = process_library()
        self._servers = servers
        self._began = time.monotonic()

    def look(self, ours: Iterable[int | None]) -> tuple[float, float, float]:
        """MB of our processes, MB of the servers, and the share of a core since the beginning."""
        now = time.monotonic() - self._began
        processor = sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )
        sample = {"seconds": round(now, 1)}
        for name, server in self._servers.items():
            sample[name], took = self._of(server)
            processor += took
        mine = 0.0
        for pid in ours:
            memory, took = self._of(pid) if pid is not None else (0.0, 0.0)
            mine += memory
            processor += took
        share = processor / max(now, 1e-9)
        sample |= {"ours": round(mine, 1), "processor": round(share, 3)}
        self.samples.append(sample)
        return mine, sum(sample[name] for name in self._servers), share

    def _of(self, pid: int) -> tuple[float, float]:
        with suppress(self._psutil.Error):
            process = self._psutil.Process(pid)
            times = process.cpu_times()
            return round(process.memory_info().rss / _BYTES_PER_MB, 1), times.user + times.system
        return 0.0, 0.0
