"""What a file holds, by its name and its first bytes."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from celes_beam.errors import InputError
from celes_beam.sales.csv_dialect import CsvDialect
from celes_beam.stores.inputs.files import InputFile
from celes_beam.stores.inputs.names import format_of_name
from celes_beam.stores.inputs.read_options import CSV, NDJSON, PARQUET, ReadOptions
from celes_beam.stores.inputs.text_stream import TextStream

_COMPRESSIONS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_PARQUET_MAGIC = b"PAR1"
_KNOWN_BINARIES = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"%PDF": "a PDF",
    b"ARROW1": "an Arrow file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"SQLite format 3": "an SQLite database",
    b"\xfd7zXZ": "an xz archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"\x89PNG\r\n": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    # Where these come up, one compression has been undone already.
    b"\x1f\x8b": "compressed twice",
    b"\x28\xb5\x2f\xfd": "compressed twice",
}
_HEAD_BYTES = 1 << 16
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Some stray bytes are for the rows that hold them; of a binary file there are more.
_NUL_SHARE = 0.01
_FEW_NULS = 4
_CONTROL_SHARE = 0.1
_UNDECODABLE_SHARE = 0.3


@dataclass(frozen=True)
class Kind:
    """What a file holds: its format, and how its bytes are compressed, if they are.

    ``head`` is the beginning of its text, as ``TextStream`` gives it; empty for Parquet.
    """

    format: str
    compression: str | None
    head: bytes = b""


def find_kind(file: InputFile, how: ReadOptions) -> Kind:
    """Find out what a file holds; what it begins with counts for more than its name.

    Raises ``InputError`` when that is not the format asked for, or none that is known.
    """
    with TextStream(file) as stream:
        first = stream.read_up_to(_HEAD_BYTES)
    named = format_of_name(file.path)
    asked = None if how.format == "auto" else how.format
    compression = next((c for magic, c in _COMPRESSIONS.items() if first.startswith(magic)), None)
    if first.startswith(_PARQUET_MAGIC) and asked in (None, PARQUET):
        return Kind(PARQUET, None)
    wanted = asked or named
    if compression:
        _refuse_compressed_parquet(file, compression)
    if wanted == PARQUET:
        if not first:
            return Kind(PARQUET, None)
        raise InputError(
            f"{file.path}: not a Parquet file (it does not begin with PAR1); give the format it "
            "has with --format csv or ndjson"
        )
    dialect = CsvDialect() if wanted == NDJSON else how.dialect
    head = first
    # Opening a file in a bucket takes its time, so that is done once where it can be.
    if compression or not dialect.keeps_bytes:
        with TextStream(file, compression, dialect) as stream:
            head = stream.read_up_to(_HEAD_BYTES)
    _refuse_binary(file, head, dialect)
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if wanted is None:
        wanted = NDJSON if text[:1] in (b"{", b"[") else CSV
    if wanted == NDJSON:
        _refuse_json_document(file, text)
    elif re.match(rb'\{\s*"', text):
        raise InputError(
            f"{file.path}: looks like NDJSON (its text begins with {{ and a quote), not CSV; read "
            "it with --format ndjson, or name it .ndjson"
        )
    return Kind(wanted, compression, head)


def _refuse_binary(file: InputFile, head: bytes, dialect: CsvDialect) -> None:
    what = next((w for magic, w in _KNOWN_BINARIES.items() if head.startswith(magic)), None)
    if what is None and dialect.keeps_bytes:
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InputError(
                f"{file.path}: its text is UTF-16, not {dialect.encoding}; read it with "
                "--csv_encoding utf-16"
            )
        undecodable = head.decode(dialect.encoding, "replace").count("\ufffd")
        controls = len(_CONTROL.findall(head))
        if (
            head.count(0) > max(_FEW_NULS, _NUL_SHARE * len(head))
            or controls > _CONTROL_SHARE * len(head)
            or undecodable > _UNDECODABLE_SHARE * len(head)
            or min(undecodable, controls) > max(_FEW_NULS, _NUL_SHARE * len(head))
        ):
            what = "no text"
    if what:
        raise InputError(
            f"{file.path} looks binary ({what}): expected CSV, NDJSON or Parquet; give such a "
            "file, or name another text encoding with --csv_encoding"
        )


def _refuse_compressed_parquet(file: InputFile, compression: str) -> None:
    with TextStream(file, compression) as stream:
        if stream.read_up_to(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC:
            raise InputError(
                f"{file.path}: a Parquet file within {compression}; Parquet is compressed inside "
                "and is read from both ends, so unpack it first"
            )


def _refuse_json_document(file: InputFile, text: bytes) -> None:
    if text.startswith(b"["):
        raise InputError(
            f"{file.path}: a JSON array, where NDJSON (one object a line) is expected; "
            f"convert it with jq -c '.[]' {file.path} > sales.ndjson"
        )
    if re.match(rb"\{\s*\n", text):
        raise InputError(
            f"{file.path}: a JSON object over several lines, where NDJSON (one object a line) is "
            f"expected; convert it with jq -c . {file.path} > sales.ndjson"
        )
