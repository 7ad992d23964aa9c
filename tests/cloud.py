"""Google Cloud on this machine for tests, and Google's own command lines to judge what we did."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

from celes_beam.errors import MissingProgramError
from celes_beam.local.processes import Server
from celes_beam.stores.cloud.clients import LOCAL_PROJECT
from tests.tools import missing


def started(start: Callable[[Path], Server], folder: Path) -> Server:
    """Start a server; without its program CI fails, and others skip."""
    try:
        return start(folder)
    except MissingProgramError as error:
        return missing(str(error))


def fresh_name(start: str) -> str:
    """A name for a bucket or a topic that nothing has yet."""
    return f"{start}-{uuid.uuid4().hex[:12]}"


def fresh_dataset() -> str:
    """``PROJECT:DATASET`` of a dataset that is not there yet."""
    return f"{LOCAL_PROJECT}:{fresh_name('d').replace('-', '_')}"
