"""A stream has more bundles than Beam's FnApiRunner was made for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics, MetricsFilter

from celes_beam.transforms.options import beam_options, new_pipeline
from celes_beam.transforms.pull_restriction import PullProvider

BUNDLES = 1_100
RESTRICTION = beam.DoFn.RestrictionParam(PullProvider())


class _CountFn(beam.DoFn):
    """Claims one in each bundle."""

    @beam.DoFn.unbounded_per_element()
    def process(self, element: bytes, tracker: Any = RESTRICTION) -> Iterator[int]:
        number = tracker.current_restriction()[0]
        if number < BUNDLES and tracker.try_claim(1):
            Metrics.counter("test", "claimed").inc()
            yield number
            tracker.defer_remainder()


def test_metrics_of_a_thousand_bundles_are_added_up() -> None:
    pipeline = new_pipeline(beam_options([]))
    pipeline | beam.Impulse() | beam.ParDo(_CountFn())

    result = pipeline.run()

    (counter,) = result.metrics().query(MetricsFilter().with_namespace("test"))["counters"]
    assert counter.result == BUNDLES
