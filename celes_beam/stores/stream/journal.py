"""The journal of a stream: a folder with one entry for each batch, put before the batch is applied.

    <writer>-<number>.entry        the batch
    <writer>-<number>.applied      it is in the table, and its dead letters were sent
    <writer>-<number>.refused-<n>  rows of it that BigQuery did not take

A writer applies an entry before it puts the next, so only its last one needs the mark. The
argument is in ``docs/streaming-journal.md``.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from celes_beam.errors import ConfigError, IntegrityError, StorageError, UsageError
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.lake.local_files import make_folder, storage_errors
from celes_beam.stores.lake.local_storage import LocalStorage
from celes_beam.stores.lake.staging_area import each
from celes_beam.stores.lake.storage import Storage, open_storage
from celes_beam.stores.lake.stored import StoredFile
from celes_beam.stores.stream.entry import Entry, Header, decode_entry, encode_entry, read_header

STREAM = "_stream"
"""The folder of a lake that holds its journals."""
_NAME = re.compile(r"((?:\d{8}T\d{12}Z|batch)-[0-9a-f]+)-\d{8}")
_OWNER = "journal.json"
_ENTRY = ".entry"
_APPLIED = ".applied"
_REFUSED = ".refused-"
_REFUSALS = msgspec.msgpack.Decoder(dict[int, str])


def journal_root(lake: str, source: str) -> str:
    """The journal of a source, such as ``pubsub:projects/…``, within the folder of a lake."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:8]
    short = re.sub(r"[^A-Za-z0-9._-]", "-", source.rsplit("/", 1)[-1])[:64]
    return f"{lake.rstrip('/')}/{STREAM}/{short}-{digest}"


def check_outside(journal: str, lake: str) -> None:
    """Raise ``ConfigError`` for a journal among the files that readers of a lake see."""
    inner, outer = (_absolute(root).rstrip("/") for root in (journal, lake))
    below = inner.removeprefix(f"{outer}/")
    if inner == outer or (below != inner and not below.startswith(("_", "."))):
        raise ConfigError(
            f"--journal {journal} is within the lake {lake}, whose readers would come upon it: "
            f"leave it out, and it is in {lake.rstrip('/')}/{STREAM}, or give a folder elsewhere"
        )


def new_writer(at: datetime | None = None) -> str:
    """A name for a writer, which sorts by time."""
    moment = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%S%fZ")
    return f"{moment}-{uuid.uuid4().hex[:8]}"


def entry_name(writer: str, number: int) -> str:
    """The name of an entry of a writer."""
    return f"{writer}-{number:08d}"


def batch_name(keys: Sequence[str]) -> str:
    """The name of the entry of a batch that comes again as it is, made of its messages' keys."""
    digest = hashlib.blake2b(msgspec.msgpack.encode(keys), digest_size=16).hexdigest()
    return entry_name(f"batch-{digest}", 0)


class _Owner(msgspec.Struct, frozen=True):
    source: str
    lake: str | None


@dataclass(frozen=True)
class Listing:
    """What a journal held at one moment: entries by name, in order, and what is noted of them."""

    entries: Mapping[str, StoredFile] = field(default_factory=dict)
    marked: frozenset[str] = frozenset()
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Files of refused rows, by entry."""

    @property
    def newest(self) -> float:
        """When the latest entry was put, in seconds since 1970; 0 without any."""
        return max((f.modified for f in self.entries.values()), default=0.0)

    def unapplied(self) -> list[str]:
        """Entries that may not be applied: the last of each writer, without a mark."""
        last = {writer_of(name): name for name in self.entries}
        return [name for name in last.values() if name not in self.marked]


class Journal:
    """One journal. Any number of writers may put entries; each has names of its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @classmethod
    def open(cls, root: str) -> Journal:
        """Open the journal in a folder, on this machine or ``gs://``; makes it when it is missing.

        Raises ``UsageError`` for what cannot be a folder.
        """
        storage = open_storage(root)
        if isinstance(storage, LocalStorage):
            _make_durable(Path(root).absolute())
        storage.tidy("")
        return cls(storage)

    def take_for(self, source: str, lake: str | None) -> None:
        """Note whose journal this is, once. Raises ``UsageError`` when it is another one's.

        Entries of another stream would go into our lake, and ours into its.
        """
        place = None if lake is None else open_storage(_absolute(lake)).root
        mine = _Owner(source=source, lake=place)
        self._storage.put_if_absent(_OWNER, msgspec.json.format(msgspec.json.encode(mine)))
        data = self._storage.read(_OWNER)
        try:
            owner = msgspec.json.decode(data, type=_Owner)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise IntegrityError(
                f"{self._storage.uri(_OWNER)} does not say whose journal this is: {error}; give "
                "another --journal"
            ) from error
        if owner != mine:
            raise UsageError(
                f"--journal {self.root} is that of {owner.source} into "
                f"{owner.lake or 'no lake'}, and this is {source} into {place or 'no lake'}: give "
                f"each stream a journal of its own, or delete {self._storage.uri(_OWNER)} if the "
                "lake was moved"
            )

    @property
    def root(self) -> str:
        """The folder."""
        return self._storage.root

    def uri(self, name: str) -> str:
        """The path or URI of an entry, for messages."""
        return self._storage.uri(name + _ENTRY)

    def mark_uri(self, name: str) -> str:
        """The path or URI of the mark that says an entry has been applied."""
        return self._storage.uri(name + _APPLIED)

    def put(self, name: str, entry: Entry) -> bool:
        """Put an entry, durable when this returns; False when one of its name is there already."""
        return self._storage.put_if_absent(name + _ENTRY, encode_entry(entry))

    def listing(self) -> Listing:
        """All that is there."""
        entries: dict[str, StoredFile] = {}
        marked: set[str] = set()
        notes: dict[str, tuple[str, ...]] = {}
        for file in self._storage.list("", recursive=False):
            name, _, _ = file.name.rpartition(".")
            if not _NAME.fullmatch(name):
                continue
            kind = file.name.removeprefix(name)
            if kind == _ENTRY:
                entries[name] = file
            elif kind == _APPLIED:
                marked.add(name)
            elif kind.startswith(_REFUSED):
                notes[name] = (*notes.get(name, ()), file.name)
        return Listing(entries, frozenset(marked), notes)

    def read(self, name: str) -> tuple[Entry, bytes]:
        """An entry, and its bytes. Raises ``IntegrityError`` when it is damaged."""
        data = self._storage.read(name + _ENTRY)
        return decode_entry(data, self.uri(name)), data

    def has(self, name: str) -> bool:
        """Whether an entry is there still; one that was applied and is old may be deleted."""
        return self._storage.exists(name + _ENTRY)

    def headers(self, names: Iterable[str]) -> list[Header | None]:
        """The headers of entries, a few at a time where that is faster; None for one deleted."""
        return each(self._header, names, at_once=self._storage.at_once)

    def mark_applied(self, name: str) -> None:
        """Note that an entry has been applied."""
        self._storage.put_if_absent(name + _APPLIED, b"")

    def note_refused(self, name: str, number: int, why: Mapping[int, str]) -> None:
        """Note rows that BigQuery did not take: by index among the accepted ones, the reason."""
        note = f"{name}{_REFUSED}{number}"
        data = msgspec.msgpack.encode(dict(sorted(why.items())))
        # Another process that applies the same entry is told the same.
        if not self._storage.put_if_absent(note, data) and self._storage.read(note) != data:
            raise IntegrityError(
                f"{self._storage.uri(note)}: BigQuery refuses other rows of this batch than it "
                "told another process: end that one, and run this one again"
            )

    def refused(self, name: str, notes: Iterable[str] | None = None) -> list[dict[int, str]]:
        """What was noted of the refused rows of an entry, note by note."""
        if notes is None:
            notes = []
            while self._storage.exists(f"{name}{_REFUSED}{len(notes)}"):
                notes.append(f"{name}{_REFUSED}{len(notes)}")
        return [_REFUSALS.decode(self._storage.read(note)) for note in notes]

    def delete(self, listing: Listing, names: Iterable[str]) -> None:
        """Delete entries, and what was noted of them."""
        # In order: while the last entry of a writer is there, none before it seems to be the last.
        for name in sorted(names):
            self._storage.delete(name + _ENTRY)
            self._delete_notes(listing, name)

    def sweep(self, listing: Listing) -> None:
        """Delete marks and notes whose entries are gone: their deletion was cut short."""
        for name in (listing.marked | listing.notes.keys()) - listing.entries.keys():
            # It may have been put while the listing was made.
            if not self.has(name):
                self._delete_notes(listing, name)

    def _delete_notes(self, listing: Listing, name: str) -> None:
        for note in listing.notes.get(name, ()):
            self._storage.delete(note)
        if name in listing.marked:
            self._storage.delete(name + _APPLIED)

    def _header(self, name: str) -> Header | None:
        try:
            with self._storage.open(name + _ENTRY) as file:
                return read_header(file, self.uri(name))
        except (StorageError, *READ_ERRORS) as error:
            if not self.has(name):
                return None
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot read {self.uri(name)}: {error}; run it again") from error


def writer_of(name: str) -> str:
    """The writer of an entry."""
    return name.rpartition("-")[0]


def _absolute(root: str) -> str:
    return root if "://" in root else str(Path(root).absolute())


def _make_durable(root: Path) -> None:
    missing = [path for path in (root, *root.parents) if not path.exists()]
    with storage_errors("make", root):
        make_folder(root)
        for path in missing:
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
