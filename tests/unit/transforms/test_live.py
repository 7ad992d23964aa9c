"""What live windows tell, and when: on Beam's streaming runner of this process."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.test_stream import TestStream as Script
from apache_beam.transforms.window import TimestampedValue
from apache_beam.typehints import KV

from celes_beam.commands.pipeline_parsers import streaming_parser
from celes_beam.commands.stream_options import stream_options
from celes_beam.errors import ConfigError
from celes_beam.stores.messages.subscription import SubscriptionFacts
from celes_beam.stores.warehouse.live_table import LiveRow, LiveSpec
from celes_beam.stores.warehouse.table_name import parse_table_name
from celes_beam.transforms.live import AddUpFn, check_live_windows
from pipelines import streaming

SPEC = LiveSpec(parse_table_name("my-project:sales.ventas_en_vivo"), 60, 3600.0, "me")
FOUND: list[tuple[Any, ...]] = []
"""What the workers of this process gathered."""
HOME, TOYS = ("Hogar", "Norte"), ("Juguetes", "Sur")


def at(seconds: float, key: tuple[str, str], rows: int, cents: int) -> TimestampedValue:
    start = int(seconds // 60) * 60_000_000
    return TimestampedValue(((start, *key), (rows, cents)), seconds)


def told(row: LiveRow) -> tuple[Any, ...]:
    assert row.end - row.start == 60_000_000
    assert row.series == "me"
    minute = row.start // 60_000_000
    return minute, row.category, row.kind, row.rows, row.cents, row.late, row.number, row.added


def found(row: tuple[Any, ...]) -> None:
    FOUND.append(row)


def run(stream: Script, expected: list[tuple[Any, ...]], *, now: float = 1e9) -> None:
    FOUND.clear()
    options = PipelineOptions(["--runner", "DirectRunner", "--streaming"])
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | stream
            | beam.Map(lambda one: one).with_output_types(KV[tuple[int, str, str], Any])
            | beam.ParDo(AddUpFn(SPEC, lambda: now))
            | beam.Map(told)
            | beam.Map(found)
        )
    assert sorted(FOUND) == sorted(expected)


def test_a_window_is_told_once_it_is_over_and_again_when_more_comes() -> None:
    run(
        Script()
        .advance_watermark_to(0)
        .add_elements([at(1, HOME, 2, 300), at(30, HOME, 1, 50), at(59.999, TOYS, 1, 5)])
        .add_elements([at(60, HOME, 4, 4)])
        .advance_watermark_to(61)
        .add_elements([at(2, HOME, 1, 7)])
        .add_elements([at(3, HOME, 2, 10)])
        .advance_watermark_to(121)
        .advance_watermark_to_infinity(),
        [
            (0, "Hogar", "a_tiempo", 3, 350, 0, 0, 3),
            (0, "Juguetes", "a_tiempo", 1, 5, 0, 0, 1),
            (1, "Hogar", "a_tiempo", 4, 4, 0, 0, 4),
            (0, "Hogar", "correccion", 4, 357, 1, 1, 1),
            (0, "Hogar", "correccion", 6, 367, 3, 2, 2),
        ],
    )


def test_a_key_that_first_comes_late_is_told_too() -> None:
    run(
        Script()
        .advance_watermark_to(0)
        .add_elements([at(1, HOME, 1, 1)])
        .advance_watermark_to(600)
        .add_elements([at(2, TOYS, 1, 9)])
        .advance_watermark_to_infinity(),
        [(0, "Hogar", "a_tiempo", 1, 1, 0, 0, 1), (0, "Juguetes", "a_tiempo", 1, 9, 0, 0, 1)],
    )


def test_what_is_open_when_the_stream_ends_is_told_as_partial() -> None:
    run(
        Script()
        .advance_watermark_to(0)
        .add_elements([at(1, HOME, 1, 1), at(70, HOME, 1, 2)])
        .advance_watermark_to_infinity(),
        [(0, "Hogar", "a_tiempo", 1, 1, 0, 0, 1), (1, "Hogar", "parcial", 1, 2, 0, 0, 1)],
        now=100.0,
    )


def test_sums_have_no_bound() -> None:
    huge = 2**63
    run(
        Script()
        .advance_watermark_to(0)
        .add_elements([at(1, HOME, 1, huge), at(2, HOME, 1, huge)])
        .advance_watermark_to_infinity(),
        [(0, "Hogar", "a_tiempo", 2, 2 * huge, 0, 0, 2)],
    )


@pytest.mark.parametrize("flags", [[], ["--runner", "DirectRunner"], ["--runner", "FnApiRunner"]])
def test_a_runner_without_live_windows_is_refused(flags: list[str]) -> None:
    with pytest.raises(ConfigError, match="has no live windows"):
        check_live_windows(PipelineOptions(flags))


@pytest.mark.parametrize("name", ["PrismRunner", "PortableRunner", "FlinkRunner", "DataflowRunner"])
def test_others_have_them(name: str) -> None:
    check_live_windows(PipelineOptions(["--runner", name]))


def test_on_dataflow_it_hangs_behind_the_sinks() -> None:
    flags = ["--subscription", "projects/my-project/subscriptions/sub"]
    flags += ["--bigquery_table", "my-project:sales.ventas", "--live_windows", "1m"]
    options = stream_options(streaming_parser().parse_args(flags))
    facts = SubscriptionFacts(options.subscription or "")
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming"]))
    streaming.build(
        pipeline, options, streaming.delivery_spec(options, native=True), facts, native=True
    )

    proto = pipeline.to_runner_api()

    parts = proto.components
    named = {t.unique_name: t for t in parts.transforms.values()}
    (adds_up,) = (t for name, t in named.items() if name.endswith("Add up"))
    (came,) = adds_up.inputs.values()
    coder = parts.coders[parts.pcollections[came].coder_id]
    assert coder.spec.urn == "beam:coder:kv:v1"
    counts = next(t for name, t in named.items() if name.startswith("Live/Count"))
    (delivered,) = counts.inputs.values()
    assert any(
        delivered in t.outputs.values() for name, t in named.items() if name.startswith("Deliver")
    )
