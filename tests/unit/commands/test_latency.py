import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.commands.latency import Latency

durations = st.lists(st.integers(1_000, 9_000_000_000), min_size=1, max_size=200)


def of(*micros: int) -> Latency:
    return Latency.none().and_also(np.array(micros, np.int64))


@given(durations, st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_right_to_an_eighth(micros: list[int], share: float) -> None:
    latency = of(*micros)
    exact = float(np.quantile(micros, share, method="inverted_cdf")) / 1e6
    found = latency.quantile(share)

    assert found is not None
    assert exact / 1.13 <= found <= exact * 1.13
    assert latency.mean == pytest.approx(sum(micros) / len(micros) / 1e6)
    assert latency.count == len(micros)


@given(durations, durations)
def test_a_difference_is_what_came_between(first: list[int], second: list[int]) -> None:
    between = of(*first).and_also(np.array(second, np.int64)) - of(*first)

    assert between.counts.tolist() == of(*second).counts.tolist()
    assert between.total_us == sum(second)


def test_of_nothing_nothing_is_known() -> None:
    nothing = of()
    assert (nothing.count, nothing.mean, nothing.quantile(0.5)) == (0, None, None)


def test_the_shortest_and_the_longest_are_counted_too() -> None:
    odd = of(-5, 0, 1, 10**15)
    assert odd.count == 4
    assert odd.total_us == 10**15 + 1
    assert 0 < (odd.quantile(0.5) or 0) <= 0.001
    assert odd.quantile(1.0) == 10_000


def test_bounds_tell_how_many_took_no_longer() -> None:
    told = dict(of(500, 1_000, 2_000_000, 10**12).at_most())
    assert told[0.001] == 2
    assert told[1.0] == 2
    assert told[10.0] == 3
    assert told[10_000.0] == 3
    assert told[float("inf")] == 4
    assert list(told) == sorted(told)
