"""The claim of the run that writes to a folder in a bucket: one object, renewed as long as it does.

Its generation says whose it is, so a run that lost it, having slept or lost the network for long,
finds out before it finishes. One that was not renewed for long belongs to a run that was killed.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from typing import Any

from celes_beam.errors import CelesError, LakeConflictError
from celes_beam.stores.cloud.clients import GCS_SCHEME, storage_client, storage_retry
from celes_beam.stores.cloud.deliver import OBJECT_CREATOR
from celes_beam.stores.cloud.failures import cloud_errors

RENEW_SECONDS = 60.0
STALE_SECONDS = 600.0
"""Ten renewals that did not come; clocks of machines may differ by most of it."""


class Claim:
    """The claim ``gs://BUCKET/FOLDER/…`` (``url``); for one run."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._bucket, _, self._name = url.removeprefix(GCS_SCHEME).partition("/")
        self._generation = 0
        self._lost = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._renewing: threading.Thread | None = None

    def is_taken(self) -> bool:
        """Whether another run holds it, which was at work lately."""
        with cloud_errors("look at", self.url, needs=OBJECT_CREATOR):
            found = self._blob().bucket.get_blob(self._name, retry=storage_retry())
        return found is not None and not _is_stale(found)

    def take(self) -> bool:
        """Take it, from a run that was killed if need be, and renew it from now on; or False."""
        with cloud_errors("look at", self.url, needs=OBJECT_CREATOR):
            found = self._blob().bucket.get_blob(self._name, retry=storage_retry())
        if found is not None and not _is_stale(found):
            return False
        self._generation = int(found.generation) if found is not None else 0
        if not self._put():
            return False
        self._renewing = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._renewing.start()
        return True

    def holds(self) -> bool:
        """Whether it is still ours: not taken over by another run, and not deleted."""
        return not self._lost and self._put()

    def confirm(self) -> None:
        """Raise ``LakeConflictError`` when it is not ours any more."""
        if not self.holds():
            raise LakeConflictError(
                f"{self.url} was deleted or taken over by another run while this one wrote beside "
                "it: run again, alone"
            )

    def release(self) -> None:
        """Give it up, if it is ours."""
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        self._ended.set()
        if self._renewing is not None:
            self._renewing.join()
        if self._lost:
            return
        with (
            cloud_errors("delete", self.url, needs=OBJECT_CREATOR),
            suppress(NotFound, PreconditionFailed),
        ):
            self._blob().delete(if_generation_match=self._generation, retry=storage_retry())

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            # What fails now is tried again; what is lost is told when it matters.
            with suppress(CelesError):
                if not self._put():
                    return

    def _put(self) -> bool:
        """Write it anew in place of what we know; False when something else is there."""
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        blob, mine = self._blob(), uuid.uuid4().hex
        failures: list[BaseException] = []

        def put() -> None:
            blob.upload_from_string(mine, if_generation_match=self._generation, retry=None)

        with self._lock, cloud_errors("write", self.url, needs=OBJECT_CREATOR):
            try:
                storage_retry()(put, on_error=failures.append)()
            except (PreconditionFailed, NotFound) as error:
                if isinstance(error, NotFound) and not self._generation:
                    raise
                # The answer to a try of ours may have been lost, when it had done its work.
                found = blob.bucket.get_blob(self._name, retry=storage_retry())
                if not failures or found is None or found.download_as_text() != mine:
                    self._lost = True
                    return False
                blob = found
            self._generation = int(blob.generation)
        return True

    def _blob(self) -> Any:
        return storage_client().bucket(self._bucket).blob(self._name)


def _is_stale(blob: Any) -> bool:
    return bool(blob.updated.timestamp() < time.time() - STALE_SECONDS)
