"""Why a read failed: what the file holds is to blame, or the disk, the network and the service.

pyarrow raises ``OSError`` for both, so that a file might be taken for damaged because a bucket did
not answer. What tells them apart is what the system and Google's library leave in the error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

READ_ERRORS = (OSError, ValueError)
"""What pyarrow raises when it cannot read, and, by its own errors, when it cannot decode."""
_CLOSED = "I/O operation on closed file"
_STATUS = re.compile(
    r"google::cloud::Status\((\w+): (.*?)(?: error_info=\{|\)$|\)\. Detail: )", re.DOTALL
)
_LAST = "with a last message of "
_MOST_SAID = 300


@dataclass(frozen=True)
class ReadFailure:
    """``gone``, ``refused`` (there is no permission) or ``failed`` (which may pass), and why."""

    kind: Literal["gone", "refused", "failed"]
    why: str


def read_failure(error: BaseException) -> ReadFailure | None:
    """Why a file could not be read; None when it was, and what it holds is to blame."""
    if isinstance(error, ValueError):
        # pyarrow takes an object for a closed file whose first request failed.
        closed = _CLOSED in str(error)
        return ReadFailure("failed", "its bucket did not let it be read") if closed else None
    if not isinstance(error, OSError):
        return None
    status = _STATUS.search(str(error))
    if isinstance(error, FileNotFoundError):
        return ReadFailure("gone", "it is not there")
    if isinstance(error, PermissionError):
        role = "grant roles/storage.objectViewer on its bucket"
        return ReadFailure(
            "refused", f"no permission to read it: {role if status else 'allow it (chmod)'}"
        )
    if status is not None:
        said = " ".join(status[2].rpartition(_LAST)[2].split())[:_MOST_SAID]
        return ReadFailure("failed", f"Cloud Storage failed: {status[1]}: {said}")
    return ReadFailure("failed", error.strerror or str(error)) if error.errno else None
