"""The files of an input, fixed once for several processes: whatever is committed meanwhile.

Whoever starts engines on one and the same snapshot writes down what it found, and names that file
in ``FIXED_INPUT``; ``lake_input.open_input`` then finds just these files in every process below.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from celes_beam.errors import IntegrityError
from celes_beam.stores.lake.lake_reader import LakeFile

FIXED_INPUT = "CELES_FIXED_INPUT"
"""The environment variable that names the file."""


class FixedInput(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in ``root``; ``rows`` and ``total`` are ``None`` for a plain folder."""

    root: str
    files: tuple[LakeFile, ...]
    rows: int | None = None
    total: str | None = None


def write_fixed_input(path: Path, fixed: FixedInput) -> None:
    """Write down what other processes are to find."""
    path.write_bytes(msgspec.json.encode(fixed))


def fixed_input(root: str) -> FixedInput | None:
    """What ``FIXED_INPUT`` says of ``root``; ``None`` when it says nothing of it.

    Raises ``IntegrityError`` when the file is gone or broken.
    """
    path = os.environ.get(FIXED_INPUT)
    if not path:
        return None
    try:
        fixed = msgspec.json.decode(Path(path).read_bytes(), type=FixedInput)
    except (OSError, msgspec.DecodeError) as error:
        raise IntegrityError(
            f"{FIXED_INPUT}={path} cannot be read ({error}): it names what celes-beam compare "
            "wrote; unset it"
        ) from error
    return fixed if fixed.root == root else None
