"""The sales contract: the five columns, what each accepts, and what a rejected row looks like.

Every other definition (Arrow, BigQuery, lake partitions, engines) is derived from this module.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum

import pyarrow as pa

from celes_beam.errors import ColumnError, ConfigError

RULES_VERSION = 1
"""Raised whenever a rule below changes; stored with every commit and every rejected row."""

ID = "id_cliente"
DATE = "fecha_de_transaccion"
AMOUNT = "cantidad_de_venta"
CATEGORY = "categoria_de_producto"
REGION = "region_de_venta"

AMOUNT_PRECISION = 12
AMOUNT_SCALE = 2
MAX_CENTS = 10**AMOUNT_PRECISION - 1
MIN_DATE = datetime(2000, 1, 1, tzinfo=UTC)
FUTURE_ALLOWANCE = timedelta(days=1)
CENT_TOLERANCE = 1e-9
"""How far a JSON float may be from a whole number of cents, in cents."""
MAX_RAW_BYTES = 65_536
"""A rejected row keeps at most this much of its raw bytes."""
MAX_RECORD_BYTES = 1_048_576
"""A text record longer than this is rejected as malformed, so that memory stays bounded."""

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
"""What Hive calls the partition of nulls: readers of a whole lake take it for no text at all."""
MAX_FOLDER_BYTES = 255
"""The longest name that a folder may have on the file systems in use."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Hive escapes these in a path, and every control character; see FileUtils.escapePathName of Hive.
_ESCAPED = frozenset("\"#%'*/:=?\\{}[]^\x7f") | {chr(c) for c in range(32)}


@dataclass(frozen=True)
class Column:
    """One column of the contract: its name, Arrow type, BigQuery type and meaning."""

    name: str
    arrow_type: pa.DataType
    bigquery_type: str
    description: str


COLUMNS: tuple[Column, ...] = (
    Column(ID, pa.int64(), "INT64", "Customer that bought; greater than 0."),
    Column(
        DATE,
        pa.timestamp("us", tz="UTC"),
        "TIMESTAMP",
        "When the sale took place, UTC; a date alone is midnight.",
    ),
    Column(
        AMOUNT,
        pa.decimal128(AMOUNT_PRECISION, AMOUNT_SCALE),
        "NUMERIC",
        "Amount of the sale; greater than 0, at most 10 integer digits and 2 decimals.",
    ),
    Column(CATEGORY, pa.string(), "STRING", "Product category."),
    Column(REGION, pa.string(), "STRING", "Sales region."),
)
COLUMN_NAMES: tuple[str, ...] = tuple(c.name for c in COLUMNS)
MESSAGE_ID = "_message_id"
"""Beside the columns of a streamed table: the message a row came in, by which redelivered rows can
be told apart; of row n of a message that holds several, ``<id>/<n>``."""
INGESTED_AT = "_ingested_at"
"""Beside the columns of a streamed table: when the row was written, UTC."""
OTHER_FIELDS = "_otros_campos"
"""Beside the columns of a streamed table: the fields of a message that are no column, as JSON."""
SCHEMA: pa.Schema = pa.schema([pa.field(c.name, c.arrow_type, nullable=False) for c in COLUMNS])


class Reason(StrEnum):
    """Why a row was not accepted; a closed set."""

    MALFORMED = "malformed"
    """Wrong number of fields, text after a closing quote, not JSON, two JSON keys for one column,
    undecodable, or too long."""
    MISSING = "missing"
    """A value is absent, null or blank."""
    UNPARSEABLE = "unparseable"
    """A value is not of its column's type, or is a text with a NUL."""
    OUT_OF_RANGE = "out_of_range"
    """A value is of the right type but not within the accepted bounds, or cannot name a folder."""
    INEXACT = "inexact"
    """An amount has more decimals than the column holds."""
    UNKNOWN = "unknown"
    """A category or region is not one of the configured ones, or a field of a message is none of
    the contract's where that is asked for (``freeze``)."""
    TRANSFORM_FAILED = "transform_failed"
    """The user's ``--transform`` raised, or returned what is no batch of these rows."""
    REFUSED = "refused"
    """BigQuery did not take the row."""


REASONS: tuple[Reason, ...] = tuple(Reason)

REJECTED_SCHEMA: pa.Schema = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        # Byte offset of the record in the text, decompressed, and in UTF-8 when its codec has
        # characters of several bytes; row number, from 0, elsewhere.
        pa.field("position", pa.int64(), nullable=False),
        # One reason for each wrong column, in contract order; [malformed] alone for a whole row.
        pa.field("reasons", pa.list_(pa.string()), nullable=False),
        # The first wrong column and its text; null when the row as a whole is malformed. Of a file
        # that was refused as a whole (position 0, raw empty) the value tells why.
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),
        pa.field("raw", pa.binary(), nullable=False),
        pa.field("rejected_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("rules_version", pa.int32(), nullable=False),
        pa.field("attempt", pa.int32(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Rules:
    """What a run accepts: its start (which bounds dates) and the categories and regions it knows.

    ``started`` must be timezone-aware. ``categories`` and ``regions`` are the accepted texts;
    ``None`` accepts any non-blank text.
    """

    started: datetime
    categories: tuple[str, ...] | None = None
    regions: tuple[str, ...] | None = None
    attempt: int = 1
    min_us: int = field(init=False, repr=False)
    max_us: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.started.tzinfo is None:
            raise ConfigError(f"started={self.started!r} has no time zone: give one, such as UTC")
        # Texts of input rows are stripped and normalised, so what they are compared to must be too.
        for name in ("categories", "regions"):
            texts = getattr(self, name)
            if texts is not None:
                object.__setattr__(self, name, tuple(normalize_text(t) for t in texts))
        one = timedelta(microseconds=1)
        object.__setattr__(self, "min_us", (MIN_DATE - EPOCH) // one)
        object.__setattr__(self, "max_us", (self.started + FUTURE_ALLOWANCE - EPOCH) // one)


def normalize_text(text: str) -> str:
    """Strip surrounding white space and compose accents (Unicode NFC)."""
    return unicodedata.normalize("NFC", text).strip()


def hive_escape(value: str) -> str:
    """Percent-encode a partition value as Hive does."""
    return "".join(f"%{ord(c):02X}" if c in _ESCAPED else c for c in value)


def can_name_folder(column: str, text: str) -> bool:
    """Say whether a lake can be partitioned by a column that holds this text.

    Not when the folder's name would be longer than ``MAX_FOLDER_BYTES``, or is Hive's for null.
    """
    folder = f"{column}={hive_escape(text)}"
    return text != HIVE_NULL and len(folder.encode()) <= MAX_FOLDER_BYTES


def fold_header(name: str) -> str:
    """Reduce a header to what is compared: no BOM, outer space, case, or accents."""
    # Case is folded between: a compatibility form such as a mathematical A has none of its own.
    plain = unicodedata.normalize("NFKD", name.replace("\ufeff", "")).casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    return "".join(c for c in decomposed if not unicodedata.combining(c)).strip()


def match_headers(
    found: Sequence[str],
    mapping: Mapping[str, str] | None = None,
    *,
    may_be_missing: bool = False,
) -> dict[str, int]:
    """Find where each contract column stands among the headers of an input.

    ``mapping`` names the header to use for a contract column (``{"id_cliente": "household_id"}``).
    Of several headers that fit one column, the one that is spelled as wanted counts. Returns
    contract column -> index in ``found``. Raises ``ColumnError`` naming what is missing, what is
    there, and the nearest header; also when two headers fit one column as well as each other, or
    one header is to be two columns. With ``may_be_missing`` only a header that ``mapping`` names
    has to be there.
    """
    wanted = {name: fold_header((mapping or {}).get(name, name)) for name in COLUMN_NAMES}
    for name, header in wanted.items():
        others = [n for n, h in wanted.items() if h == header and n != name]
        if others:
            raise ColumnError(
                f"header {header!r} would be both {name} and {others[0]}: give each column a "
                "header of its own in --columns"
            )
    folded = [fold_header(name) for name in found]
    places = {}
    for name, header in wanted.items():
        exact = [i for i, n in enumerate(found) if n == (mapping or {}).get(name, name)]
        if len(exact) == 1:
            (places[name],) = exact
        elif folded.count(header) == 1:
            places[name] = folded.index(header)
        elif header in folded:
            twice = [found[i] for i, f in enumerate(folded) if f == header]
            raise ColumnError(
                f"column {name} is there {len(twice)} times ({', '.join(map(repr, twice))}): "
                f"keep one, or name the right one with --columns {name}=HEADER"
            )
    missing = [name for name in wanted if name not in places]
    if may_be_missing:
        missing = [name for name in missing if name in (mapping or {})]
    if missing:
        raise ColumnError(_missing_columns(missing, wanted, found, folded))
    return places


def _missing_columns(
    missing: Sequence[str], wanted: Mapping[str, str], found: Sequence[str], folded: Sequence[str]
) -> str:
    hints = []
    for name in missing:
        near = difflib.get_close_matches(wanted[name], folded, n=1, cutoff=0.5)
        if near:
            hints.append(f"{name}={found[folded.index(near[0])].strip()}")
    remedy = (
        f"perhaps --columns {','.join(hints)}"
        if hints
        else f"map them with --columns {missing[0]}=HEADER"
    )
    looked_for = ", ".join(n if wanted[n] == n else f"{n} (as {wanted[n]!r})" for n in missing)
    there = ", ".join(repr(h) for h in found[:20]) + (", …" if len(found) > 20 else "")
    return f"no column for {looked_for}; the columns are {there}; {remedy}"


_MEAN_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_MEAN_QUANTUM = Decimal("0.000001")


def mean(total: Decimal, rows: int) -> Decimal:
    """Divide a sum by its count, rounded to 6 decimals half-even: the one division of the project.

    Raises ``ValueError`` when ``rows`` is not positive.
    """
    if rows <= 0:
        raise ValueError(f"rows={rows}: a mean needs at least one row")
    return _MEAN_CONTEXT.divide(total, Decimal(rows)).quantize(_MEAN_QUANTUM, context=_MEAN_CONTEXT)
