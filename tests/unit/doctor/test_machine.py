from __future__ import annotations

import sys
from pathlib import Path

import pytest

from celes_beam.doctor.check import State
from celes_beam.doctor.machine import check_packages, check_python


def installed(folder: Path, name: str, version: str, *lines: str) -> None:
    """Install a package that has nothing but what it says of itself."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    said = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]
    (info / "METADATA").write_text("\n".join(said) + "\n", encoding="utf-8")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_old_python_fails_and_a_new_one_does_not() -> None:
    old = check_python((3, 10, 14))
    assert (old.state, old.said) == (State.FAILED, "3.10.14; needs 3.11 or later")
    assert "3.11" in old.remedy
    assert check_python((3, 11, 0)).state is State.OK
    assert check_python().said.startswith(".".join(map(str, sys.version_info[:3])))


def test_our_own_packages_fit() -> None:
    (check,) = check_packages()
    assert check.state is State.OK
    assert "apache-beam 2.77.0" in check.said


def test_missing_and_old_packages_are_named_with_what_installs_them(packages: Path) -> None:
    installed(
        packages,
        "doctor-subject",
        "1.0",
        "Requires-Dist: doctor-absent>=2",
        "Requires-Dist: doctor-old>=3,<4",
        "Requires-Dist: doctor-elsewhere>=1; sys_platform == 'nowhere'",
    )
    installed(packages, "doctor-old", "2.9")
    absent, old = check_packages("doctor-subject")
    assert (absent.name, absent.state) == ("package doctor-absent", State.FAILED)
    assert absent.remedy == "pip install 'doctor-absent>=2'"
    assert (old.name, old.state) == ("package doctor-old", State.FAILED)
    assert old.said == "2.9 is installed; needs doctor-old<4,>=3"


def test_what_an_extra_requires_may_be_missing_but_has_to_fit(packages: Path) -> None:
    installed(
        packages,
        "doctor-subject",
        "1.0",
        "Provides-Extra: fast",
        "Requires-Dist: doctor-absent>=2; extra == 'fast'",
        "Requires-Dist: doctor-old>=3; extra == 'fast'",
    )
    installed(packages, "doctor-old", "2.9")
    (old,) = check_packages("doctor-subject")
    assert (old.name, old.state) == ("package doctor-old", State.WARNING)


def test_a_requirement_without_its_extra_fails(packages: Path) -> None:
    installed(packages, "doctor-subject", "1.0", "Requires-Dist: doctor-beam[gcp]")
    installed(
        packages,
        "doctor-beam",
        "5.0",
        "Provides-Extra: gcp",
        "Provides-Extra: aws",
        "Requires-Dist: doctor-google; extra == 'gcp'",
        "Requires-Dist: doctor-amazon; extra == 'aws'",
    )
    (google,) = check_packages("doctor-subject")
    assert (google.name, google.state) == ("package doctor-google", State.FAILED)
    assert google.remedy == "pip install 'doctor-beam[gcp]==5.0'"


def test_a_package_that_is_not_installed_is_a_warning() -> None:
    (check,) = check_packages("doctor-nothing")
    assert check.state is State.WARNING
