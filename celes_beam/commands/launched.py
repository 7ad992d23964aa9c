"""What a command says of a job that it has started elsewhere, and left running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table, write_json

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class StartedJob:
    """A job by the id that Dataflow gave it, and its region, without which nobody finds it."""

    job_id: str
    region: str | None

    def next_step(self, *, is_streaming: bool) -> str:
        """What the user may do with it."""
        named = self.job_id + (f" --region {self.region}" if self.region else "")
        return (
            f"gcloud dataflow jobs drain {named} ends it, losing nothing"
            if is_streaming
            else f"gcloud dataflow jobs show {named} tells how it goes; its last step commits"
        )


@dataclass(frozen=True)
class FlinkJob:
    """A stream on a Flink cluster, by the name that it has there."""

    job_id: str
    region: None = None

    def next_step(self, *, is_streaming: bool) -> str:
        """What the user may do with it."""
        return (
            "cancel it in Flink's page, or by flink cancel: nothing is lost, and what was not "
            "acknowledged comes again to the next run"
        )


@dataclass(frozen=True)
class Launched:
    """A job on Dataflow or Flink: the run, what it reads, and the job.

    It is None when a Flex Template is launched: the job is written for Dataflow to start.
    """

    run_id: str
    job: StartedJob | FlinkJob | None
    reads: str
    is_streaming: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "status": "launched",
            "run_id": self.run_id,
            "job_id": self.job.job_id if self.job else None,
            "region": self.job.region if self.job else None,
            "reads": self.reads,
            "streaming": self.is_streaming,
        }

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print it for people."""
        from rich.markup import escape  # noqa: PLC0415 - slow to import: not for --help

        facts = facts_table()
        facts.add_row("job", self.job.job_id if self.job else "written for Dataflow to start")
        facts.add_row("run", escape(self.run_id))
        facts.add_row("reads", escape(self.reads))
        console.print(facts)
        if self.job is None:
            return
        after = self.job.next_step(is_streaming=self.is_streaming)
        console.print(f"Next: {after}", soft_wrap=True)
