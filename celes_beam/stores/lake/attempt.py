"""An attempt that did not come to its end: what it staged is taken back, unless it has decided.

The commit is made by a worker of a runner, and that may go on when who launched it has given up: a
thread in this process after Ctrl-C, or a machine that has not heard of the end of its job. If it
decided on files that are just being taken back, nobody could read the lake any more. So both say
what they are about to do before they look what the other does.

    _staging/<run_id>/<attempt>/.deciding/<id>     a worker may decide at any moment
    _staging/<run_id>/<attempt>.given-up/mark      nobody may begin to decide any more
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from celes_beam.errors import CelesError, LakeConflictError
from celes_beam.stores.lake.commit import conflict
from celes_beam.stores.lake.lake import Lake

_DECIDING = ".deciding"
_GIVEN_UP = ".given-up"
_LOGGER = logging.getLogger(__name__)


@contextmanager
def deciding(lake: Lake, run_id: str, staging: str) -> Iterator[None]:
    """Within it what an attempt staged stays. Raises ``LakeConflictError`` when it was given up."""
    here = f"{staging}/{_DECIDING}/{uuid.uuid4().hex}"
    lake.storage.put_if_absent(here, b"")
    try:
        _check_not_given_up(lake, run_id, staging)
        yield
    except BaseException:
        # Of two failures the first is the one to tell of.
        with suppress(CelesError):
            lake.storage.delete(here)
        raise


def give_up(lake: Lake, run_id: str, staging: str, error: BaseException) -> None:
    """Take back what an attempt staged; when it has or may have committed, the log says so.

    Raises ``LakeConflictError`` because of ``error`` when another attempt of the run has committed.
    """
    given_up = f"{staging}{_GIVEN_UP}"
    lake.storage.put_if_absent(f"{given_up}/mark", b"")
    may_decide = next(lake.storage.list(f"{staging}/{_DECIDING}"), None) is not None
    decided = lake.find(run_id)
    if decided is None and may_decide:
        _LOGGER.warning(
            "run %s was about to commit, and may do so yet: see celes-beam lake history %s, and "
            "run it again with --run_id %s, or not at all; what it staged is swept in a day",
            run_id,
            lake.storage.root,
            run_id,
        )
        return
    if decided is None:
        lake.storage.delete_folder(staging)
    # Last: until then it keeps workers from deciding on what is only in part there.
    lake.storage.delete_folder(given_up)
    if decided is None:
        lake.discard(staging)
        return
    if decided.staging != staging:
        # The winner of a race has swept our staging away, under the feet of our workers.
        raise conflict(decided) from error
    # Under another run id, rows that were generated would be there twice.
    _LOGGER.warning(
        "run %s is committed all the same, and whoever looks at %s next puts in place what is not: "
        "run it again with --run_id %s, or not at all",
        run_id,
        lake.storage.root,
        run_id,
    )


def _check_not_given_up(lake: Lake, run_id: str, staging: str) -> None:
    if lake.storage.exists(f"{staging}{_GIVEN_UP}/mark"):
        raise LakeConflictError(
            f"run {run_id} was given up by the process that began it; nothing of this attempt was "
            "kept: run it again"
        )
