"""What tells one rejected row from all others, wherever it is read: 16 bytes."""

from __future__ import annotations

from hashlib import blake2b

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from celes_beam.sales.records import Mask

IDENTITY_BYTES = 16
IDENTITY_TYPE: pa.DataType = pa.binary(IDENTITY_BYTES)

Identities = npt.NDArray[np.bytes_]
"""One identity a row, of numpy's type S16."""


def identify(rejected: pa.RecordBatch) -> Identities:
    """The identity of each row of ``contract.REJECTED_SCHEMA``.

    It is made of source, position, attempt and ``rejected_at`` in microseconds, which are the same
    in a lake, in a table and in a dead letter.
    """
    encode = msgspec.msgpack.Encoder().encode
    columns = zip(
        rejected.column("source").to_pylist(),
        rejected.column("position").to_pylist(),
        rejected.column("attempt").to_pylist(),
        rejected.column("rejected_at").cast(pa.int64()).to_pylist(),
        strict=True,
    )
    found = [blake2b(encode(key), digest_size=IDENTITY_BYTES).digest() for key in columns]
    return np.frombuffer(b"".join(found), f"S{IDENTITY_BYTES}")


def to_arrow(identities: Identities) -> pa.Array:
    """The same as an Arrow array of fixed-size binary; no copy."""
    data = pa.py_buffer(np.ascontiguousarray(identities))
    return pa.Array.from_buffers(IDENTITY_TYPE, len(identities), [None, data])


def from_arrow(identities: pa.Array) -> Identities:
    """The same as numpy has them; no copy. There are no nulls."""
    start = identities.offset * IDENTITY_BYTES
    data = identities.buffers()[1]
    if data is None:
        return np.empty(0, f"S{IDENTITY_BYTES}")
    return np.frombuffer(data, f"S{IDENTITY_BYTES}", count=len(identities), offset=start)


class IdentitySet:
    """Identities seen so far, 16 bytes each: sorted runs, of which small ones are merged."""

    def __init__(self) -> None:
        self._runs: list[Identities] = []

    def __len__(self) -> int:
        return sum(map(len, self._runs))

    def holds(self, identities: Identities) -> Mask:
        """For each whether it was seen."""
        seen = np.zeros(len(identities), np.bool_)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, identities), len(run) - 1)
            seen |= run[places] == identities
        return seen

    def add(self, identities: Identities) -> Mask:
        """Take these in; for each whether it is new, the first of several alike alone."""
        first = np.zeros(len(identities), np.bool_)
        first[np.unique(identities, return_index=True)[1]] = True
        new: Mask = first & ~self.holds(identities)
        fresh = np.sort(identities[new])
        if len(fresh):
            # Each run is at least twice as long as the next, so that there are few.
            while self._runs and len(self._runs[-1]) < 2 * len(fresh):
                fresh = np.sort(np.concatenate([self._runs.pop(), fresh]))
            self._runs.append(fresh)
        return new
