"""What a lake holds at one moment."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.manifest import DataFile, Manifest


@dataclass(frozen=True)
class Snapshot:
    """The files that count at one moment, and the commits, in order."""

    files: tuple[DataFile, ...]
    commits: Commits

    @property
    def runs(self) -> tuple[Manifest, ...]:
        """All commits; where there are many this takes time."""
        return self.commits.manifests

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(f.rows for f in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(f.bytes for f in self.files)

    @property
    def total(self) -> Decimal:
        """Exact sum of all amounts."""
        return sum((Decimal(f.total) for f in self.files), Decimal("0.00"))


def snapshot_of(commits: Commits) -> Snapshot:
    """The files that count after these commits."""
    return Snapshot(tuple(f for of_run in commits.live for f in of_run.files), commits)
