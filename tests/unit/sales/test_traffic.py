from __future__ import annotations

import zlib
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celes_beam.config import load_config
from celes_beam.contract import EPOCH, SCHEMA
from celes_beam.errors import ConfigError
from celes_beam.sales.messages import MessageRules, Messages, check_messages
from celes_beam.sales.traffic import Message, Schedule, Traffic, what_was_published

CONFIG = load_config(None, {"seed": 7})
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def traffic(**kwargs: object) -> Traffic:
    return Traffic(CONFIG, **kwargs)  # type: ignore[arg-type]


def sales(messages: list[Message]) -> list[str]:
    return [message.attributes["sale"] for message in messages]


def test_without_shares_messages_are_the_rows_in_order() -> None:
    messages = list(Schedule(traffic(first_row=5), 5_000))
    assert sales(messages) == [f"7-{row}" for row in range(5, 5_005)]
    assert {m.rows for m in messages} == {1}
    assert all(set(m.attributes) == {"sale"} and not m.is_copy for m in messages)


def test_copies_follow_soon_and_late_ones_late() -> None:
    messages = list(Schedule(traffic(late_share=0.05, duplicate_share=0.1), 30_000))
    times: dict[str, list[int]] = {}
    for at, sale in enumerate(sales(messages)):
        times.setdefault(sale, []).append(at)
    copies = sum(m.is_copy for m in messages)
    late = sum("late" in m.attributes for m in messages if not m.is_copy)
    assert len(times) == 30_000
    assert len(messages) == 30_000 + copies
    assert copies == pytest.approx(3_000, abs=200)
    assert late == pytest.approx(1_500, abs=150)
    places = {sale: row for row, sale in enumerate(f"7-{row}" for row in range(30_000))}
    for message in messages:
        first, *again = times[message.attributes["sale"]]
        held = int(message.attributes.get("late", 0))
        place = places[message.attributes["sale"]]
        assert held == 0 or 1_000 <= held <= 10_000
        # Between, there are at most as many copies as there are in all, and late ones missing.
        if place + held + 1_000 < 30_000:
            assert place + held - late <= first <= place + held + copies
            assert all(0 < at - first <= 1_000 + copies for at in again)
    same = {m.attributes["sale"]: m for m in messages if not m.is_copy}
    assert all(same[m.attributes["sale"]].data == m.data for m in messages if m.is_copy)


@settings(max_examples=30)
@given(
    st.integers(0, 10**6),
    st.integers(0, 3_000),
    st.integers(0, 3_000),
    st.integers(1, 7),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_what_happens_to_a_row_does_not_depend_on_where_a_run_begins(
    first_row: int, skipped: int, rows: int, size: int, late: float, twice: float
) -> None:
    skipped -= skipped % size

    def of(first: int, count: int) -> Counter[tuple[str, bytes, str, bool]]:
        chosen = traffic(
            first_row=first,
            error_rate=0.1,
            late_share=late,
            duplicate_share=twice,
            rows_per_message=size,
        )
        return Counter(
            (m.attributes["sale"], m.data, m.attributes.get("late", ""), m.is_copy)
            for m in Schedule(chosen, count)
        )

    parts = of(first_row, skipped) + of(first_row + skipped, rows)
    assert parts == of(first_row, skipped + rows)


@settings(max_examples=40)
@given(
    st.integers(0, 6_000),
    st.integers(0, 5_000),
    st.integers(1, 5),
    st.sampled_from([0, 0.1, 1]),
    st.sampled_from([0, 0.1, 1]),
)
def test_a_run_that_ends_early_leaves_no_row_out(
    taken: int, rows: int, size: int, late: float, twice: float
) -> None:
    chosen = traffic(late_share=late, duplicate_share=twice, rows_per_message=size)
    schedule = Schedule(chosen, rows)
    messages = iter(schedule)
    sent = [*islice(messages, taken), *schedule.rest()]
    whole = list(Schedule(chosen, schedule.rows_passed))
    assert Counter(sales(sent)) == Counter(sales(whole))
    assert sum(m.rows for m in sent if not m.is_copy) == schedule.rows_passed
    assert list(messages) == []
    if taken >= rows * 2:
        assert schedule.rows_passed == rows


def test_messages_of_several_rows_are_lines() -> None:
    messages = list(Schedule(traffic(rows_per_message=100), 250))
    assert [m.rows for m in messages] == [100, 100, 50]
    assert sales(messages) == ["7-0", "7-100", "7-200"]
    lines = b"\n".join(m.data for m in messages).split(b"\n")
    assert lines == [m.data for m in Schedule(traffic(), 250)]


def test_compressed_messages_are_the_same_each_time() -> None:
    (plain,) = Schedule(traffic(), 1)
    (packed,) = Schedule(traffic(gzip=True), 1)
    assert packed.attributes == {"sale": "7-0", "content-encoding": "gzip"}
    assert zlib.decompress(packed.data, 31) == plain.data
    assert [packed] == list(Schedule(traffic(gzip=True), 1))


@pytest.mark.parametrize("gzip", [False, True])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("knows_names", [True, False])
def test_what_was_published_is_what_comes_of_the_messages(
    gzip: bool, size: int, knows_names: bool
) -> None:
    chosen = traffic(
        first_row=1_000,
        error_rate=0.2,
        late_share=0.1,
        duplicate_share=0.1,
        rows_per_message=size,
        gzip=gzip,
    )
    messages = [m for m in Schedule(chosen, 4_000) if not m.is_copy]
    rules = MessageRules(
        "s",
        id_attribute="sale",
        categories=CONFIG.categories if knows_names else None,
        regions=CONFIG.regions if knows_names else None,
    )
    now = int((NOW - EPOCH).total_seconds()) * 1_000_000
    checked = check_messages(
        Messages(
            [m.data for m in messages],
            [m.attributes for m in messages],
            [str(i) for i in range(len(messages))],
            [now] * len(messages),
        ),
        rules,
    )
    expected = what_was_published(7, 1_000, 4_000, 0.2, config=CONFIG, knows_names=knows_names)
    reasons = Counter(r for (r,) in checked.rejected.column("reasons").to_pylist())
    assert reasons == {str(reason): rows for reason, rows in expected.rejected.items()}
    assert ("unknown" in reasons) is knows_names
    assert expected.accepted.schema == SCHEMA
    assert expected.accepted.num_rows + sum(reasons.values()) == 4_000
    arrived = {}
    for row_id, row in zip(
        checked.accepted_ids.to_pylist(), checked.accepted.to_pylist(), strict=True
    ):
        sale, _, number = row_id.partition("/")
        arrived[int(sale.split("-")[1]) + int(number or 0)] = row
    assert arrived == dict(
        zip(expected.rows.to_pylist(), expected.accepted.to_pylist(), strict=True)
    )


def test_what_was_published_without_errors_is_the_generators_rows() -> None:
    expected = what_was_published(42, 3, 10)
    assert expected.rows.equals(pa.array(range(3, 13)))
    assert expected.rejected == {}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"first_row": -1}, "first_row=-1: expected 0 or more"),
        ({"rows_per_message": 0}, "rows_per_message=0: expected 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(kwargs: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        traffic(**kwargs)
