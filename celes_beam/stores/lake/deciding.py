"""An attempt is decided on or taken back, never both, whoever does it in whichever process.

A commit may be made by a worker that goes on when its launcher has given up: a thread in the same
process after Ctrl-C, or a machine that has not heard of the end of its job. If it decided on files
that are just being deleted, nobody could read the lake any more. So both say what they are about to
do before they look what the other does.

    _staging/<run_id>/<attempt>/.started           gone: nobody may begin to decide any more
    _staging/<run_id>/<attempt>/.deciding/<id>     somebody may decide at any moment
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from celes_beam.errors import CelesError
from celes_beam.stores.lake.storage import Storage

_STARTED = ".started"
_DECIDING = ".deciding"


def start(storage: Storage, staging: str, at: str) -> None:
    """Make the folder of an attempt, ``at`` a time in ISO 8601."""
    storage.put_if_absent(f"{staging}/{_STARTED}", f"{at}\n".encode())


@contextmanager
def deciding(storage: Storage, staging: str) -> Iterator[bool]:
    """Within it nobody takes the attempt back; False when that was, or is being done."""
    here = f"{staging}/{_DECIDING}/{uuid.uuid4().hex}"
    storage.put_if_absent(here, b"")
    try:
        yield storage.exists(f"{staging}/{_STARTED}")
    finally:
        # It may be decided by now; and of two failures the first is the one to tell of.
        with suppress(CelesError):
            storage.delete(here)


def may_take_back(storage: Storage, staging: str) -> bool:
    """Say that an attempt is taken back; False when somebody may be deciding on it just now.

    If it is not decided then, it never will be.
    """
    storage.delete(f"{staging}/{_STARTED}")
    return next(storage.list(f"{staging}/{_DECIDING}"), None) is None
