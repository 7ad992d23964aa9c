"""How a CSV file is written, and its header."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from celes_beam.contract import COLUMN_NAMES, fold_header, match_headers
from celes_beam.errors import ColumnError, ConfigError, InputError
from celes_beam.sales.records import split_record
from celes_beam.sales.texts import PLAIN_NOTATION, Notation
from celes_beam.sales.transform import unlike_names

SNIFFED_DELIMITERS = ",;\t|"
UTF8 = "utf-8"
_UNDECODABLE = "celes_beam.undecodable"
# Python calls these text codecs, but no text files are written in them.
_NO_FILE_CODECS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    # A lone surrogate, which ``transcode`` turns into a byte that no UTF-8 text has.
    return "\udcff", error.end


codecs.register_error(_UNDECODABLE, _mark_undecodable)


def _codec_of_files(encoding: str) -> str:
    name = codecs.lookup(encoding).name
    if name in _NO_FILE_CODECS:
        raise LookupError(f"{name} is no codec of text files")
    return name


@dataclass(frozen=True)
class CsvDialect:
    """How a CSV file is written.

    ``delimiter`` is one ASCII character; ``None`` finds out which of ``, ; tab |`` it is from the
    header. ``encoding`` is the name of any Python codec of text files. Raises ``ConfigError`` for
    others.
    """

    delimiter: str | None = None
    encoding: str = UTF8
    notation: Notation = PLAIN_NOTATION

    def __post_init__(self) -> None:
        mark = self.delimiter
        if mark is not None and (len(mark) != 1 or not mark.isascii() or mark in '"\r\n\0'):
            raise ConfigError(
                f"delimiter {mark!r}: expected one ASCII character other than a quote or a line "
                "end, such as ; or tab"
            )
        try:
            "".encode(self.encoding)
            name = _codec_of_files(self.encoding)
        except (LookupError, UnicodeError, ValueError) as error:
            raise ConfigError(
                f"encoding {self.encoding!r}: expected the name of a text encoding, such as utf-8, "
                "latin-1 or cp1252"
            ) from error
        object.__setattr__(self, "encoding", UTF8 if name in (UTF8, "utf-8-sig", "ascii") else name)

    @cached_property
    def keeps_bytes(self) -> bool:
        """Whether each character is one byte and ASCII is ASCII, or the text is UTF-8.

        Then line ends, quotes and delimiters can be found in the bytes as they stand.
        """
        if self.encoding == UTF8:
            return True
        try:
            text = bytes(range(256)).decode(self.encoding, "replace")
        except UnicodeError:
            return False
        return len(text) == 256 and text[:128] == bytes(range(128)).decode()


def transcode(text: bytes | memoryview, encoding: str) -> bytes:
    """Turn text of a codec that keeps bytes (``CsvDialect.keeps_bytes``) into UTF-8.

    Bytes that are undecodable become byte 255, which is undecodable in UTF-8 too.
    """
    return codecs.decode(text, encoding, _UNDECODABLE).encode(UTF8, "surrogateescape")


def transcoder(encoding: str) -> codecs.IncrementalDecoder:
    """Make an incremental decoder whose text ``encode_marked`` turns into UTF-8."""
    return codecs.getincrementaldecoder(encoding)(_UNDECODABLE)


def encode_marked(text: str) -> bytes:
    """Encode decoded text as UTF-8, with byte 255 where it was undecodable."""
    return text.encode(UTF8, "surrogateescape")


@dataclass(frozen=True)
class CsvHeader:
    """The header of one file: what a decoder of its records must know.

    ``places`` has the index of each contract column, in contract order, among ``fields`` fields.
    For a transform, which is given all fields and may make up for missing columns, ``names`` has a
    name for each (``name_fields``), and ``places`` is empty.
    """

    fields: int
    places: tuple[int, ...]
    delimiter: str = ","
    encoding: str = UTF8
    notation: Notation = field(default=PLAIN_NOTATION)
    names: tuple[str, ...] = ()

    @cached_property
    def column_names(self) -> list[str]:
        """A name for each field: of ``names``, or the contract's, or a number."""
        if self.names:
            return list(self.names)
        names = [str(i) for i in range(self.fields)]
        for name, place in zip(COLUMN_NAMES, self.places, strict=True):
            names[place] = name
        return names


def locate_columns(
    names: Sequence[str], mapping: Mapping[str, str] | None, source: str
) -> tuple[int, ...]:
    """Find the index of each contract column, in contract order, among the names in ``source``.

    Raises ``ColumnError`` as ``contract.match_headers`` does, with the source before it.
    """
    try:
        places = match_headers(names, mapping)
    except ColumnError as error:
        raise ColumnError(f"{source}: {error}") from None
    return tuple(places[name] for name in COLUMN_NAMES)


def name_fields(
    names: Sequence[str], mapping: Mapping[str, str] | None, source: str
) -> tuple[str, ...]:
    """Name all fields of ``source`` for a transform: the contract's columns as the contract does.

    The others keep their names, and get ``_2``, ``_3`` where one is taken. Raises ``ColumnError``
    as ``locate_columns`` does, but for a missing column only when ``mapping`` names its header.
    """
    try:
        places = match_headers(names, mapping, may_be_missing=True)
    except ColumnError as error:
        raise ColumnError(f"{source}: {error}") from None
    columns = {place: column for column, place in places.items()}
    others = [name.strip() for i, name in enumerate(names) if i not in columns]
    named = iter(unlike_names([*COLUMN_NAMES, *others])[len(COLUMN_NAMES) :])
    return tuple(columns[i] if i in columns else next(named) for i in range(len(names)))


def read_header(
    line: bytes,
    dialect: CsvDialect,
    mapping: Mapping[str, str] | None,
    source: str,
    *,
    every_field: bool = False,
) -> CsvHeader:
    """Read a file's first record (UTF-8 when the dialect does not keep bytes) as its header.

    ``every_field`` is for a transform; see ``CsvHeader``. Raises ``InputError`` when it cannot be
    decoded, ``ColumnError`` when columns are not there.
    """
    encoding = dialect.encoding if dialect.keeps_bytes else UTF8
    try:
        text = line.decode(encoding).lstrip("\ufeff").rstrip("\r\n")
    except UnicodeDecodeError as error:
        found = line[error.start : error.start + 1]
        raise InputError(
            f"{source}: byte {found.hex()} at {error.start} of the header is not {dialect.encoding}"
            ": name the file's encoding, such as --csv_encoding latin-1 or cp1252"
        ) from None
    delimiter = dialect.delimiter or _sniff(text, mapping)
    names = _split(text, delimiter)
    if not names:
        raise InputError(
            f"{source}: the quotes of the header {text[:80]!r} do not match: expected "
            f"names such as {delimiter.join(COLUMN_NAMES)}"
        )
    if every_field:
        named = name_fields(names, mapping, source)
        return CsvHeader(len(names), (), delimiter, encoding, dialect.notation, named)
    places = locate_columns(names, mapping, source)
    return CsvHeader(len(names), places, delimiter, encoding, dialect.notation)


def _sniff(text: str, mapping: Mapping[str, str] | None) -> str:
    wanted = {fold_header((mapping or {}).get(name, name)) for name in COLUMN_NAMES}

    def fitness(delimiter: str) -> tuple[int, int]:
        names = _split(text, delimiter)
        return len(wanted & {fold_header(name) for name in names}), len(names)

    return max(SNIFFED_DELIMITERS, key=fitness)


def _split(text: str, delimiter: str) -> list[str]:
    names = split_record(text.encode(UTF8), ord(delimiter))
    return [name.decode(UTF8) for name in names or ()]
