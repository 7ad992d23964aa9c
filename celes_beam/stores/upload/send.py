"""Files are sent by the library's transfer manager, then every object is compared with its file.

Each request carries the generation it expects, so two uploads never overwrite each other unseen.
A request whose answer was lost is asked again and then refused, by its own success: so a refusal
counts only when the object does not hold the file.

Large files are not cut into parts that are sent side by side: such an upload knows no
preconditions, and one that is killed leaves parts behind, which cost money. The files of a lake
are many, and it is they that are sent side by side.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from celes_beam.errors import (
    CelesError,
    InputError,
    IntegrityError,
    StorageError,
)
from celes_beam.stores.cloud.buckets import bucket_errors
from celes_beam.stores.cloud.deliver import is_session_gone
from celes_beam.stores.upload.plan import Transfer, crc32c_of
from celes_beam.stores.upload.sources import SourceFile, status_of
from celes_beam.stores.upload.transport import MeteredAdapter, Stopped, metered_client

PATIENCE_SECONDS = 120.0
"""How long one request is tried again, with pauses that grow, before the upload gives up."""
FIRST_PAUSE_SECONDS = 0.5
_MOST_PAUSE_SECONDS = 8.0
_LOGGER = logging.getLogger(__name__)
_ROUNDS = 3
_MOST_ROUNDS = 10
"""With those in which the session of an upload was lost, which says nothing of the file."""
_WAVE = 4
_MOST_SAID = 300
_PIECE_BYTES = 16 * 2**20
_CONTENT_TYPE = "application/vnd.apache.parquet"
_NEEDS = "roles/storage.objectUser"
_FINAL = (
    exceptions.Forbidden,
    exceptions.Unauthorized,
    exceptions.RetryError,
    GoogleAuthError,
    OSError,
)
"""What sending the file from its beginning would not mend."""
_Tried = tuple[Transfer, Any, Exception | None]


@dataclass(frozen=True)
class Sent:
    """An object that holds its file: CRC32C in base64, and its generation."""

    name: str
    size: int
    crc32c: str
    generation: int


@dataclass(frozen=True)
class Sender:
    """Sends files to a bucket by ``workers`` threads, encrypted with ``kms_key`` if given."""

    bucket: str
    workers: int = 8
    kms_key: str | None = None
    project: str | None = None
    patience: float = PATIENCE_SECONDS

    def send(
        self, transfers: Sequence[Transfer], on_bytes: Callable[[int], None] = lambda _: None
    ) -> list[Sent]:
        """Send files; each object is as its file afterwards, or an error says which one is not.

        ``on_bytes`` hears of the bytes that arrive, from several threads. What arrived before an
        error or an interrupt stays, so the same upload later sends the rest.
        Raises ``InputError`` for a file that changed, ``IntegrityError`` for content that arrived
        otherwise than it was sent, ``StorageError`` for a service that fails and for an object
        that somebody else wrote, ``UsageError`` for a missing permission or key.
        """
        adapter = MeteredAdapter(self.workers, on_bytes)
        with bucket_errors("reach", self._place, needs=_NEEDS, kms_key=self.kms_key):
            client = metered_client(adapter, self.project)
        # Files of about one size are in flight together, so that few wait for one.
        ordered = sorted(transfers, key=lambda t: -t.file.size)
        step = self.workers * _WAVE
        waves = [ordered[i : i + step] for i in range(0, len(ordered), step)]

        def run() -> list[Sent]:
            return [sent for wave in waves for sent in self._send_wave(client, wave)]

        # The transfer manager cannot be interrupted, so it is not run where signals arrive.
        with ThreadPoolExecutor(1) as runner:
            running = runner.submit(run)
            try:
                return running.result()
            except BaseException:
                adapter.stop()
                raise
            finally:
                adapter.close()

    def _send_wave(self, client: Any, wave: Sequence[Transfer]) -> list[Sent]:
        bucket = client.bucket(self.bucket)
        done: list[Sent] = []
        pending = list(wave)
        failures: Counter[str] = Counter()
        for left in reversed(range(_MOST_ROUNDS)):
            judge = partial(self._judge, failures=failures, is_last=left == 0)
            with ThreadPoolExecutor(self.workers) as pool:
                found = list(pool.map(judge, self._try(bucket, pending)))
            done += [one for one in found if isinstance(one, Sent)]
            pending = [one for one in found if isinstance(one, Transfer)]
            if not pending:
                break
        return done

    def _try(self, bucket: Any, pending: Sequence[Transfer]) -> Iterator[_Tried]:
        """Send each file once; a call of the transfer manager has one precondition for all."""

        def call(transfers: Sequence[Transfer], generation: int, workers: int) -> list[_Tried]:
            blobs = [
                bucket.blob(t.name, chunk_size=_PIECE_BYTES, kms_key_name=self.kms_key)
                for t in transfers
            ]
            answers = transfer_manager.upload_many(
                [(t.file.path, blob) for t, blob in zip(transfers, blobs, strict=True)],
                upload_kwargs={
                    "if_generation_match": generation,
                    "checksum": "crc32c",
                    "content_type": _CONTENT_TYPE,
                    "retry": self._retry(),
                },
                # Sending and checksums leave the interpreter free, and threads report bytes.
                worker_type=transfer_manager.THREAD,
                max_workers=workers,
            )
            return list(zip(transfers, blobs, answers, strict=True))

        new = [t for t in pending if not t.generation]
        if new:
            yield from call(new, 0, self.workers)
        with ThreadPoolExecutor(self.workers) as pool:
            old = (t for t in pending if t.generation)
            for tried in pool.map(lambda t: call([t], t.generation, 1), old):
                yield from tried

    def _judge(self, tried: _Tried, *, failures: Counter[str], is_last: bool) -> Sent | Transfer:
        """What became of a file: its object, or the transfer that is to be tried again.

        ``failures`` counts those of each file, but for sessions that ended with a lost answer.
        """
        transfer, blob, error = tried
        if isinstance(error, Stopped):
            raise error
        _check_unchanged(transfer.file, lambda: _remove(blob) if error is None else None)
        place = f"{self._place}/{transfer.name}"
        with bucket_errors("upload", place, needs=_NEEDS, kms_key=self.kms_key):
            there = blob if error is None else blob.bucket.get_blob(transfer.name)
            if there is not None and _holds(there, transfer.file):
                return Sent(transfer.name, there.size, there.crc32c, int(there.generation))
            if isinstance(error, exceptions.PreconditionFailed):
                raise StorageError(
                    f"{place} was written or deleted by someone else since it was listed; run it "
                    "again"
                ) from error
            if isinstance(error, _FINAL):
                raise error
            if error is None:
                _remove(blob)
            is_cut_off = is_session_gone(error)
            failures[transfer.name] += not is_cut_off
            if failures[transfer.name] < _ROUNDS and not is_last:
                why = " ".join(str(error or "it arrived damaged").split())[:_MOST_SAID]
                _LOGGER.info("%s is sent again: %s", place, why)
                gone = error is None or (there is None and isinstance(error, DataCorruption))
                return replace(transfer, generation=0) if gone else transfer
            if is_cut_off:
                raise StorageError(
                    f"{place}: its upload was cut off again and again; look at the network, then "
                    "run it again"
                ) from error
            if error is None or isinstance(error, DataCorruption | ValueError):
                raise _damaged(transfer.file, place) from error
            raise error

    def _retry(self) -> Any:
        pauses = DEFAULT_RETRY.with_delay(FIRST_PAUSE_SECONDS, _MOST_PAUSE_SECONDS, 2.0)
        return pauses.with_timeout(self.patience)

    @property
    def _place(self) -> str:
        return f"gs://{self.bucket}"


def _holds(blob: Any, file: SourceFile) -> bool:
    return int(blob.size) == file.size and blob.crc32c == crc32c_of(file)


def _check_unchanged(file: SourceFile, undo: Callable[[], object]) -> None:
    try:
        status = status_of(file.path)
    except OSError as error:
        undo()
        raise InputError(
            f"{file.path} is gone or cannot be read any more ({error.strerror}); run again when "
            "nothing writes to it"
        ) from error
    if status != (file.size, file.modified):
        undo()
        raise InputError(
            f"{file.path} changed while it was sent, when it had {file.size:,} bytes; run again "
            "when nothing writes to it"
        )


def _remove(blob: Any) -> None:
    """Remove what we wrote, unless it is gone or replaced already."""
    with suppress(exceptions.NotFound, exceptions.PreconditionFailed):
        blob.delete(if_generation_match=blob.generation)


def _damaged(file: SourceFile, place: str) -> CelesError:
    if file.crc32c is not None:
        return IntegrityError(
            f"{file.path} is not as it was committed: its checksum is another; see what else is "
            "with celes-beam lake verify"
        )
    return IntegrityError(
        f"{place} was damaged on its way each of {_ROUNDS} times; look at the network, then run it "
        "again"
    )
