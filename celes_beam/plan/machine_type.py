"""Machine types of Compute Engine: what a name says of CPUs and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

from celes_beam.errors import ConfigError

_NAME = re.compile(r"(?P<family>[a-z]\d+[a-z]?)-(?P<kind>standard|highmem|highcpu)-(?P<cpus>\d+)")
_CUSTOM = re.compile(r"(?:(?P<family>[a-z]\d+[a-z]?)-)?custom-(?P<cpus>\d+)-(?P<mb>\d+)(?:-ext)?")
_SHARED = re.compile(r"f1-micro|g1-small|e2-(?:micro|small|medium)")
_ARM = ("t2a", "c4a", "n4a")
_GB_OF_KIND = {"standard": 4.0, "highmem": 8.0, "highcpu": 1.0}
_GB_OF_OTHERS = {
    ("n1", "standard"): 3.75,
    ("n1", "highmem"): 6.5,
    ("n1", "highcpu"): 0.9,
    ("c2d", "highcpu"): 2.0,
    ("c3", "highcpu"): 2.0,
    ("c3d", "highcpu"): 2.0,
    ("n4", "highcpu"): 2.0,
    ("c4", "highcpu"): 2.0,
}


@dataclass(frozen=True)
class MachineType:
    """A machine type: ``cpus`` are vCPUs, ``memory_gb`` is in GiB."""

    name: str
    cpus: int
    memory_gb: float


def parse_machine_type(name: str) -> MachineType:
    """Read a name such as ``n2-standard-2`` or ``n2-custom-4-8192``.

    Raises ``ConfigError`` for an unknown form, shared cores (Dataflow does not support them) and
    ARM machines (the image is built for x86).
    """
    if _SHARED.fullmatch(name):
        raise ConfigError(
            f"--machine_type {name} shares its cores, which Dataflow does not support: expected "
            "one such as n2-standard-2"
        )
    custom, found = _CUSTOM.fullmatch(name), _NAME.fullmatch(name)
    family = next((one["family"] for one in (custom, found) if one), None)
    if family in _ARM:
        raise ConfigError(
            f"--machine_type {name} is an ARM machine, and the image is built for x86: expected "
            "one such as n2-standard-2"
        )
    if custom:
        return MachineType(name, int(custom["cpus"]), int(custom["mb"]) / 1024)
    if found is None or int(found["cpus"]) < 1:
        raise ConfigError(
            f"--machine_type {name}: expected FAMILY-standard-CPUS, -highmem- or -highcpu-, or "
            "FAMILY-custom-CPUS-MB, such as n2-standard-2"
        )
    cpus = int(found["cpus"])
    gb = _GB_OF_OTHERS.get((found["family"], found["kind"]), _GB_OF_KIND[found["kind"]])
    return MachineType(name, cpus, cpus * gb)
