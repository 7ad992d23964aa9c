"""What a command says of a job that it has started elsewhere, and left running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celes_beam.commands.console import facts_table, write_json

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Launched:
    """A streaming job on Dataflow: the run, and the id that Dataflow gave it."""

    run_id: str
    job_id: str
    subscription: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"run_id": self.run_id, "job_id": self.job_id, "subscription": self.subscription}

    def write_json(self, path: str) -> None:
        """Write the JSON. Raises ``StorageError`` naming the path when that fails."""
        write_json(path, self.to_dict())

    def print(self, console: Console) -> None:
        """Print it for people."""
        facts = facts_table()
        facts.add_row("job", self.job_id)
        facts.add_row("run", self.run_id)
        facts.add_row("reads", self.subscription)
        console.print(facts)
        console.print(
            f"Next: gcloud dataflow jobs drain {self.job_id} ends it, losing nothing",
            soft_wrap=True,
        )
