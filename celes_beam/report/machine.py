"""The machine that something was measured on: cores and memory, never a name."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from celes_beam.report.comparison import Machine


def this_machine(packages: Sequence[str] = ("celes-beam", "pyarrow", "numpy")) -> Machine:
    """Describe this machine, with the versions of those of ``packages`` that are installed."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        cores=os.cpu_count() or 1,
        memory_gb=round(memory / 1e9, 1),
        python=platform.python_version(),
        system=platform.system(),
        versions=versions,
    )
