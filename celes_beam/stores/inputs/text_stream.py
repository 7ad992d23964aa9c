"""The text of a file as a stream of bytes, decompressed and transcoded where needed."""

from __future__ import annotations

from codecs import IncrementalDecoder
from typing import Self

import pyarrow as pa

from celes_beam.errors import InputError, StorageError
from celes_beam.sales.csv_dialect import CsvDialect, encode_marked, transcoder
from celes_beam.stores.cloud.read_failures import READ_ERRORS
from celes_beam.stores.inputs.files import InputFile, changed, open_input, unreadable

_UTF8 = CsvDialect()
_SKIP_BYTES = 1 << 20


class TextStream:
    """The text of a file: as it stands, or decompressed, or in UTF-8 when its codec needs that.

    ``start`` is the offset in that text to begin at. ``end`` is where to stop, for a file as it
    stands only; before there must be so many bytes. A context manager. Opening and reading raise
    ``InputError`` when the file is not what it was when it was listed, or when what is compressed
    ends too early or is damaged, and ``StorageError`` when the disk or the bucket fails.
    """

    def __init__(
        self,
        file: InputFile,
        compression: str | None = None,
        dialect: CsvDialect = _UTF8,
        *,
        start: int = 0,
        end: int | None = None,
    ) -> None:
        self._file = file
        self._compression = compression
        self._decoder = None if dialect.keeps_bytes else transcoder(dialect.encoding)
        self._decoded = b""
        self._left = None if end is None else end - start
        self._source = open_input(file)
        try:
            if compression:
                self._source = pa.CompressedInputStream(self._source, compression)
            if compression or self._decoder:
                self._skip(start)
            else:
                self._source.seek(start)
        except READ_ERRORS as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._source.close()

    def read(self, buffer: memoryview) -> int:
        """Fill ``buffer`` and return its length, or less at the end of the text."""
        wanted = len(buffer) if self._left is None else min(len(buffer), self._left)
        filled = 0
        while filled < wanted:
            part = buffer[filled:wanted]
            got = self._read_decoded(part, self._decoder) if self._decoder else self._read_raw(part)
            if not got:
                break
            filled += got
        if self._left is not None:
            if filled < wanted:
                raise changed(self._file)
            self._left -= filled
        return filled

    def read_up_to(self, size: int) -> bytes:
        """Read the next ``size`` bytes, or fewer at the end of the text."""
        buffer = bytearray(size)
        return bytes(buffer[: self.read(memoryview(buffer))])

    def _skip(self, size: int) -> None:
        while size > 0:
            got = len(self.read_up_to(min(size, _SKIP_BYTES)))
            if not got:
                raise changed(self._file)
            size -= got

    def _read_raw(self, buffer: memoryview) -> int:
        try:
            return int(self._source.readinto(buffer))
        except READ_ERRORS as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> InputError | StorageError:
        failure = unreadable(self._file, error)
        if failure is None and self._compression is not None:
            return InputError(
                f"{self._file.path}: its {self._compression} stream is damaged or cut off "
                f"({error}); get the file again"
            )
        return failure or StorageError(f"{self._file.path}: reading failed: {error}")

    def _read_decoded(self, buffer: memoryview, decoder: IncrementalDecoder) -> int:
        while not self._decoded:
            raw = bytearray(len(buffer))
            got = self._read_raw(memoryview(raw))
            self._decoded = encode_marked(decoder.decode(raw[:got], final=not got))
            if not got:
                break
        part = self._decoded[: len(buffer)]
        self._decoded = self._decoded[len(part) :]
        buffer[: len(part)] = part
        return len(part)
