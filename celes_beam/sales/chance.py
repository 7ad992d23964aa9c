"""Which rows something happens to: a pure function of the seed, of what happens, and of the row."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from celes_beam.errors import ConfigError

Indexes = npt.NDArray[np.int64]
Draws = npt.NDArray[np.uint64]

_SLICE_ROWS = 65_536


def choose_rows(
    seed: int, stream: int, first_row: int, rows: int, share: float, *, name: str
) -> tuple[Indexes, Draws]:
    """Choose about ``share`` of the ``rows`` rows from ``first_row`` on.

    ``stream`` (1 or more) tells what happens to the rows, so that one thing is not tied to
    another, nor to the values of a row, which are made from the plain seed. ``share`` is 0 to 1,
    exact to one part in 2**32; a higher one chooses the rows of a lower one too. Returns the chosen
    rows as ascending indexes from 0 (row ``first_row``), and for each a number drawn for it, from 0
    to 2**32 - 1. Raises ``ConfigError``, which calls the share ``name``, for one outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"{name}={share}: expected a share from 0 to 1, such as 0.01")
    indexes, draws = [np.empty(0, np.int64)], [np.empty(0, np.uint64)]
    if share > 0:
        limit = np.uint64(share * 2**32)
        sequence = np.random.SeedSequence(seed, spawn_key=(stream,))
        bits = np.random.PCG64DXSM(sequence).advance(first_row)
        for start in range(0, rows, _SLICE_ROWS):
            words = bits.random_raw(min(_SLICE_ROWS, rows - start))
            chosen = np.flatnonzero((words & np.uint64(0xFFFF_FFFF)) < limit)
            indexes.append(chosen + start)
            draws.append(words[chosen] >> np.uint64(32))
    return np.concatenate(indexes), np.concatenate(draws)


def one_of(draws: Draws, choices: int) -> Indexes:
    """Turn numbers that were drawn for rows into evenly spread ones from 0 to ``choices - 1``."""
    return (draws * np.uint64(choices) >> np.uint64(32)).astype(np.int64)
