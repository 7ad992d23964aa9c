"""A rejected row is the same row when it comes back in a message."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from celes_beam.sales.identities import identify
from celes_beam.sales.messages import Messages
from celes_beam.stores.messages.dead_letter_format import attributes_of_row, read_dead_letters
from tests.rejected import rejected_rows

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(
    st.text(min_size=1, max_size=200),
    st.integers(0, 2**63 - 1),
    st.integers(1, 2**31 - 1),
    TIMES,
)
def test_its_identity_survives(source: str, position: int, attempt: int, at: datetime) -> None:
    batch = rejected_rows(
        {"source": source, "position": position, "attempt": attempt, "rejected_at": at}
    )
    (row,) = batch.to_pylist()
    sent = Messages([row["raw"]], [attributes_of_row(row, "7")], ["8"], [0])
    back = read_dead_letters(sent)
    assert identify(back).tolist() == identify(batch).tolist()
    assert back.column("raw").to_pylist() == [row["raw"]]
