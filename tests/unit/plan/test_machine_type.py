"""Machine types by their names."""

from __future__ import annotations

import pytest

from celes_beam.errors import ConfigError
from celes_beam.plan.machine_type import parse_machine_type


@pytest.mark.parametrize(
    ("name", "cpus", "gb"),
    [
        ("n1-standard-1", 1, 3.75),
        ("n2-standard-2", 2, 8.0),
        ("e2-highmem-4", 4, 32.0),
        ("n1-highcpu-16", 16, 14.4),
        ("c3-highcpu-8", 8, 16.0),
        ("custom-4-16384", 4, 16.0),
        ("n2-custom-6-3072-ext", 6, 3.0),
    ],
)
def test_cpus_and_memory(name: str, cpus: int, gb: float) -> None:
    machine = parse_machine_type(name)
    assert machine.cpus == cpus
    assert machine.memory_gb == pytest.approx(gb)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("e2-small", "shares its cores"),
        ("f1-micro", "shares its cores"),
        ("t2a-standard-4", "ARM"),
        ("c4a-highmem-8", "ARM"),
        ("n2-standard", "expected FAMILY-standard-CPUS"),
        ("n2-standard-0", "expected FAMILY-standard-CPUS"),
        ("big", "expected FAMILY-standard-CPUS"),
    ],
)
def test_what_cannot_be_used_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_machine_type(name)
