"""The history of a lake: what each commit added and retired, and what the lake held after it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from celes_beam.stores.lake.commits import Commits
from celes_beam.stores.lake.manifest import STREAM_INPUT, Manifest, retired_paths


@dataclass(frozen=True)
class Step:
    """One commit: files of it that are live today, what it retired, and the lake after it."""

    manifest: Manifest
    live_files: int
    rows_retired: int
    files_after: int
    rows_after: int
    bytes_after: int
    total_after: Decimal

    @property
    def state(self) -> str:
        """How much of the commit's files is live today."""
        files = len(self.manifest.files)
        if not files:
            return "no rows"
        if self.live_files == files:
            return "live"
        return f"{self.live_files} of {files} files live" if self.live_files else "retired"

    @property
    def origin(self) -> str:
        """Where the rows came from, in a few words."""
        run = self.manifest
        if run.kind == "compact":
            return f"{len(run.retired)} files merged"
        if run.generated is not None:
            return f"generated, seed {run.generated.seed}"
        if run.replayed is not None:
            return f"{run.replayed.rows:,} rejected rows of {run.replayed.source} replayed"
        if not run.inputs:
            return "no input"
        if run.inputs[0].path.startswith(STREAM_INPUT):
            return f"{len(run.inputs):,} batches of a stream"
        more = f" and {len(run.inputs) - 1} more" if len(run.inputs) > 1 else ""
        return f"{run.inputs[0].path}{more}"


def history(commits: Commits) -> list[Step]:
    """The commits in order, each with what the lake held after it."""
    files = {f.path: f for m in commits.manifests for f in m.files}
    live = files.keys() - retired_paths(commits.manifests)
    count = rows = size = 0
    total = Decimal("0.00")
    steps = []
    for manifest in commits.manifests:
        retired = [files[path] for path in manifest.retired if path in files]
        count += len(manifest.files) - len(retired)
        rows += manifest.rows - sum(f.rows for f in retired)
        size += manifest.bytes - sum(f.bytes for f in retired)
        total += sum((Decimal(f.total) for f in manifest.files), Decimal(0))
        total -= sum((Decimal(f.total) for f in retired), Decimal(0))
        steps.append(
            Step(
                manifest=manifest,
                live_files=sum(f.path in live for f in manifest.files),
                rows_retired=sum(f.rows for f in retired),
                files_after=count,
                rows_after=rows,
                bytes_after=size,
                total_after=total,
            )
        )
    return steps
