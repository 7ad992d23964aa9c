"""The decision of one commit: what was read, which files it adds and retires, and the counts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec

from celes_beam.errors import IntegrityError

Kind = Literal["create", "append", "overwrite", "compact"]
"""``create`` is the first commit of a lake (``--if_exists error``): it needs the lake empty."""


Amount = Annotated[str, msgspec.Meta(pattern=r"^-?[0-9]+(\.[0-9]+)?$")]
"""An exact sum of amounts as text; checked when a manifest is read."""

STAGED = ".staged"
"""Ends the name of a staged file, so that ``**/*.parquet`` finds files that count and no others."""
STREAM_INPUT = "stream:"
"""Begins the name of an input that is one batch of a stream, and no file."""
REJECTED_FILE = ".pq"
"""Ends the name of a file of rejected rows, which are Parquet too, for the same reason."""


class DataFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Parquet file of accepted rows.

    ``path`` is relative to the lake and never used twice; ``staged`` is relative to the staging
    folder of the attempt. ``partition`` holds unescaped values. ``crc32c`` is base64 of the
    big-endian checksum, as Cloud Storage shows it; ``total`` the exact sum of amounts; the dates
    are ISO 8601 in UTC, ``None`` when there are no rows.
    """

    path: str
    staged: str
    partition: dict[str, str]
    rows: int
    bytes: int
    crc32c: str
    total: Amount
    min_date: str | None = None
    max_date: str | None = None

    def __post_init__(self) -> None:
        for date in (self.min_date, self.max_date):
            if date is not None:
                datetime.fromisoformat(date)


class RejectedFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Parquet file of rejected rows, published under ``_rejected/<run_id>/``."""

    path: str
    staged: str
    rows: int
    bytes: int
    crc32c: str


class ReplayedFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One Parquet file of the identities of replayed rows, published under ``_replayed``."""

    path: str
    staged: str
    rows: int
    bytes: int
    crc32c: str


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay took up again: rejected rows of ``source``, each counted as a row read.

    ``files`` list their identities, by which no later replay takes one of them again. ``by_reason``
    counts them by the first reason they were rejected for. ``rules`` is a fingerprint of what they
    were judged by this time. ``epoch`` is that of the newest overwrite when they were chosen.
    """

    source: str
    files: tuple[ReplayedFile, ...]
    by_reason: dict[str, int]
    rules: str
    epoch: int = 0

    @property
    def rows(self) -> int:
        """All rows that were taken up."""
        return sum(f.rows for f in self.files)


class InputRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An input file that a run read; path, size and version identify its content.

    ``rows_read`` of it were read, and ``rows_accepted`` of these accepted. ``refused`` tells why it
    was set aside as a whole; it then counts as one row, rejected.
    """

    path: str
    size: int
    version: str
    rows_read: int = 0
    rows_accepted: int = 0
    refused: str | None = None

    @property
    def key(self) -> tuple[str, int, str]:
        """What the ledger of inputs compares."""
        return self.path, self.size, self.version

    @property
    def is_barren(self) -> bool:
        """Whether rows of it were read and none accepted."""
        return self.rows_read > 0 and self.rows_accepted == 0


class Generated(msgspec.Struct, frozen=True, kw_only=True):
    """The rows of a run that had no input."""

    seed: int
    rows: int


class RejectedExample(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One rejected row, to show what is wrong."""

    reason: str
    source: str
    position: int
    column: str | None = None
    value: str | None = None
    raw: str = ""


class CategoryTotal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Rows and sum of amounts of one category, among the rows the run accepted."""

    categoria_de_producto: str
    rows: int
    total: Amount


class RegionMean(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Rows, sum and mean of the amounts of one region, among the rows the run accepted."""

    region_de_venta: str
    rows: int
    total: Amount
    mean: Amount


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="commit"):
    """A commit, from draft to decision. Times are ISO 8601 in UTC, amounts decimal strings.

    ``staging`` is what ``Lake.staging`` gave this attempt; staged names are relative to it.
    ``decided_at``, ``epoch``, and (of an overwrite) ``retired`` and ``replaces`` are filled in by
    ``Lake.commit``. ``replaces`` names the runs whose inputs count as unread from then on.
    Each rejected row is counted in ``rejected_by_reason`` under its first reason. A compaction
    reads nothing from outside, so its counts of rows read are 0. ``streamed_to`` are the keys of
    tables that have its rows already, accepted and rejected ones, for they were streamed there.
    """

    run_id: str
    kind: Kind
    started_at: str
    staging: str
    partition_by: tuple[str, ...] = ()
    inputs: tuple[InputRecord, ...] = ()
    generated: Generated | None = None
    replayed: Replayed | None = None
    files: tuple[DataFile, ...] = ()
    rejected_files: tuple[RejectedFile, ...] = ()
    rows_read: int = 0
    rows_accepted: int = 0
    rows_rejected: int = 0
    rejected_by_reason: dict[str, int] = {}
    rejected_examples: tuple[RejectedExample, ...] = ()
    by_category: tuple[CategoryTotal, ...] = ()
    by_region: tuple[RegionMean, ...] = ()
    total: Amount = "0.00"
    schema_hash: str = ""
    rules_version: int = 0
    seconds: float = 0.0
    decided_at: str = ""
    epoch: int = 0
    retired: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    streamed_to: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of the files this commit adds."""
        return sum(f.bytes for f in self.files)

    @property
    def all_files(self) -> tuple[DataFile | RejectedFile | ReplayedFile, ...]:
        """The files of accepted rows, of rejected ones, and of what was replayed."""
        replayed = () if self.replayed is None else self.replayed.files
        return (*self.files, *self.rejected_files, *replayed)

    @property
    def rows(self) -> int:
        """Rows in the files this commit adds."""
        return sum(f.rows for f in self.files)

    @property
    def barren_inputs(self) -> tuple[InputRecord, ...]:
        """Inputs of which rows were read, and none accepted; they count as taken in all the same.

        So a broken file is not read again every night, unless it changes.
        """
        return tuple(i for i in self.inputs if i.is_barren)

    @property
    def refused_inputs(self) -> tuple[InputRecord, ...]:
        """Inputs that were set aside as a whole."""
        return tuple(i for i in self.inputs if i.refused is not None)


class Superseded(msgspec.Struct, frozen=True, kw_only=True, tag_field="decision", tag="superseded"):
    """The decision that a run will never commit, because ``by`` went ahead of it."""

    run_id: str
    by: str
    decided_at: str


Decision = Manifest | Superseded


def retired_paths(manifests: Iterable[Manifest]) -> set[str]:
    """The files that any of the commits retired."""
    return {path for m in manifests for path in m.retired}


def count_problems(manifest: Manifest) -> list[str]:
    """How the counts and sums of a run, and those of its files, do not agree; empty when they do.

    What was read must have been accepted or rejected, nothing else.
    """
    files = Decimal(0) if manifest.kind == "compact" else _total(manifest)
    pairs = {
        "rows read, and accepted + rejected": (
            manifest.rows_read,
            manifest.rows_accepted + manifest.rows_rejected,
        ),
        "rows rejected, and their reasons": (
            manifest.rows_rejected,
            sum(manifest.rejected_by_reason.values()),
        ),
        "rows rejected, and those in files": (
            manifest.rows_rejected,
            sum(f.rows for f in manifest.rejected_files),
        ),
        "rows accepted, and those in files": (
            manifest.rows_accepted,
            0 if manifest.kind == "compact" else manifest.rows,
        ),
        "the sum of amounts, and that of the files": (Decimal(manifest.total), files),
    }
    if manifest.replayed is not None:
        pairs |= {
            "rows read, and those replayed": (manifest.rows_read, manifest.replayed.rows),
            "rows replayed, and their reasons": (
                manifest.replayed.rows,
                sum(manifest.replayed.by_reason.values()),
            ),
        }
    return [
        f"{what}, do not agree: {one} and {other}"
        for what, (one, other) in pairs.items()
        if one != other
    ]


def _total(manifest: Manifest) -> Decimal:
    return sum((Decimal(f.total) for f in manifest.files), Decimal(0))


_DECODER: msgspec.json.Decoder[Decision] = msgspec.json.Decoder(Manifest | Superseded)


def encode(decision: Decision) -> bytes:
    """Write a decision as indented JSON, which people read too."""
    return msgspec.json.format(msgspec.json.encode(decision), indent=1)


def decode(data: bytes, name: str) -> Decision:
    """Read a decision. Raises ``IntegrityError`` naming ``name`` when it is not one."""
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{name} is not a commit of this version: {error}") from error


def decode_lines(data: bytes, name: str) -> list[Decision]:
    """Read decisions, one a line. Raises ``IntegrityError`` naming ``name`` when one is none."""
    try:
        return _DECODER.decode_lines(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IntegrityError(f"{name} is not of this version: {error}") from error
