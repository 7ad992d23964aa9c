"""An attempt that did not come to its end: what it staged is taken back, unless it has decided."""

from __future__ import annotations

import logging

from celes_beam.stores.lake.commit import conflict
from celes_beam.stores.lake.lake import Lake

_LOGGER = logging.getLogger(__name__)


def give_up(lake: Lake, run_id: str, staging: str, error: BaseException) -> None:
    """Take back what an attempt staged; when it has or may have committed, the log says so.

    Raises ``LakeConflictError`` because of ``error`` when another attempt of the run has committed.
    """
    discarded = lake.discard(staging)
    decided = lake.find(run_id)
    if decided is None:
        if not discarded:
            _LOGGER.warning(
                "run %s was about to commit, and may do so yet: see celes-beam lake history %s, "
                "and run it again with --run_id %s, or not at all; what it staged is swept in a "
                "day",
                run_id,
                lake.storage.root,
                run_id,
            )
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
