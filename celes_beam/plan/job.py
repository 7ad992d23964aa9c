"""A job on Dataflow as it would be launched, with what Dataflow chooses where nothing is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from celes_beam.plan.machine_type import MachineType, parse_machine_type

Kind = Literal["batch", "streaming"]
SUPPOSED_MACHINE = "n2-standard-2"
"""What is reckoned with where no machine type is given: Dataflow's own choice has changed."""
IMAGE_PATTERN = r"[a-z0-9.-]+(:[0-9]+)?/[\w./-]+(:[\w.-]+)?(@sha256:[0-9a-f]{64})?"
"""An image of a registry, by its tag or digest."""
_MOST_WORKERS: Mapping[Kind, int] = {"batch": 1_000, "streaming": 100}
_DISK_GB: Mapping[Kind, int] = {"batch": 25, "streaming": 30}
"""Disk of a worker where shuffle and state are kept by the service, as they are for our jobs."""


@dataclass(frozen=True)
class Job:
    """What the flags of a launch say; ``None`` where they say nothing.

    ``private`` is the policy: that workers may have no addresses the internet sees.
    ``others`` are further flags of Beam that matter to a launch, by name.
    """

    kind: Kind
    project: str | None = None
    region: str | None = None
    name: str | None = None
    runner: str | None = None
    image: str | None = None
    service_account: str | None = None
    temp_location: str | None = None
    staging_location: str | None = None
    network: str | None = None
    subnetwork: str | None = None
    public_ips: bool = False
    private: bool = True
    kms_key: str | None = None
    table_kms_key: str | None = None
    table_location: str | None = None
    machine_type: str | None = None
    num_workers: int | None = None
    max_workers: int | None = None
    given_disk_gb: int | None = None
    disk_type: str | None = None
    flexrs: str | None = None
    update: bool = False
    zone: str | None = None
    experiments: tuple[str, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)

    @property
    def machine(self) -> MachineType:
        """The machine of a worker; raises ``ConfigError`` for a type that cannot be used."""
        return parse_machine_type(self.machine_type or SUPPOSED_MACHINE)

    @property
    def least_workers(self) -> int:
        """How many workers it starts with."""
        return self.num_workers or 1

    @property
    def most_workers(self) -> int:
        """How many workers it may grow to."""
        return max(self.max_workers or _MOST_WORKERS[self.kind], self.least_workers)

    @property
    def disk_gb(self) -> int:
        """Disk of one worker."""
        return self.given_disk_gb or _DISK_GB[self.kind]

    @property
    def is_ssd(self) -> bool:
        """Whether that disk is an SSD."""
        return "ssd" in (self.disk_type or "")

    def facts(self) -> list[tuple[str, str]]:
        """Name and value of everything that is settled, for people."""
        machine = self.machine
        supposed = "" if self.machine_type else " (supposed: Dataflow chooses; give --machine_type)"
        left = "not given"
        most = f"{self.most_workers:,}" + ("" if self.max_workers else " (Dataflow's limit)")
        network = self.subnetwork or self.network or "the project's default network"
        return [
            ("job", f"{self.name or left}, {self.kind}"),
            ("project", f"{self.project or left}, region {self.region or left}"),
            ("workers", f"{self.least_workers} to {most}"),
            (
                "machine type",
                f"{machine.name}: {machine.cpus} vCPU, {machine.memory_gb:g} GB{supposed}",
            ),
            ("disk", f"{self.disk_gb} GB, {'SSD' if self.is_ssd else 'standard'}"),
            ("addresses", "public" if self.public_ips else "private alone"),
            ("network", network),
            ("service account", self.service_account or "the Compute Engine default one"),
            ("key of the job", self.kms_key or "Google's"),
            ("key of the table", self.table_kms_key or "that of the dataset"),
            ("image", self.image or left),
            ("temp", self.temp_location or left),
        ]
