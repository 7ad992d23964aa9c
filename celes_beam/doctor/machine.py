"""Python and the packages of this machine, against what our own package asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires, version

from packaging.requirements import Requirement
from packaging.version import Version

from celes_beam.doctor.check import Check, State

PACKAGE = "celes-beam"
LEAST_PYTHON = (3, 11)


def check_python(found: tuple[int, ...] = sys.version_info[:3]) -> Check:
    """Whether this Python is one that the package runs on."""
    least = ".".join(map(str, LEAST_PYTHON))
    said = ".".join(map(str, found))
    if found < LEAST_PYTHON:
        remedy = f"install Python {least} or later, and the package with it"
        return Check("Python", State.FAILED, f"{said}; needs {least} or later", remedy)
    return Check("Python", State.OK, f"{said} ({sys.executable})")


def check_packages(package: str = PACKAGE) -> list[Check]:
    """Whether what ``package`` requires is installed, in versions that fit.

    What its extras require may be missing, but what is there of it has to fit. A line for each
    package that does not, or one for all.
    """
    try:
        needed = [Requirement(text) for text in requires(package) or ()]
        extras = distribution(package).metadata.get_all("Provides-Extra") or []
    except PackageNotFoundError:
        said = f"{package} is not installed as a package, so its requirements are not known"
        return [Check("packages", State.WARNING, said, "pip install -e . where its sources are")]
    always = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    optional = [
        one
        for one in needed
        if one not in always
        and one.name != package
        and one.marker is not None
        and any(one.marker.evaluate({"extra": extra}) for extra in extras)
    ]
    bad = [check for one in always for check in _unfit(one)]
    bad += [check for one in optional for check in _unfit(one, may_be_missing=True)]
    if bad:
        return bad
    beam = next((f", {one.name} {version(one.name)}" for one in always if "beam" in one.name), "")
    said = f"{package} {version(package)}{beam}: all {len(always)} it requires fit"
    return [Check("packages", State.OK, said)]


def _unfit(needed: Requirement, *, may_be_missing: bool = False) -> Iterator[Check]:
    name, asked = f"package {needed.name}", f"{needed.name}{needed.specifier}"
    remedy = f"pip install '{asked}'"
    try:
        found = Version(version(needed.name))
    except PackageNotFoundError:
        if not may_be_missing:
            yield Check(name, State.FAILED, f"not installed; needs {asked}", remedy)
        return
    if not needed.specifier.contains(found, prereleases=True):
        state = State.WARNING if may_be_missing else State.FAILED
        yield Check(name, state, f"{found} is installed; needs {asked}", remedy)
    for extra in sorted(needed.extras):
        yield from _extra_missing(needed.name, extra)


def _extra_missing(name: str, extra: str) -> Iterator[Check]:
    for text in requires(name) or ():
        part = Requirement(text)
        if part.marker is None or part.marker.evaluate({"extra": ""}):
            continue
        if not part.marker.evaluate({"extra": extra}):
            continue
        try:
            version(part.name)
        except PackageNotFoundError:
            remedy = f"pip install '{name}[{extra}]=={version(name)}'"
            said = f"not installed; {name}[{extra}] needs it"
            yield Check(f"package {part.name}", State.FAILED, said, remedy)
