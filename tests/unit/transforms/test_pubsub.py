"""The two sources of messages: what they take, and the graph that Dataflow would get."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import pytest
from apache_beam import coders
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.pipeline_context import PipelineContext
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from celes_beam.errors import ConfigError
from celes_beam.sales.messages import Messages
from celes_beam.transforms.message_coder import MessagesCoder
from celes_beam.transforms.metrics import NAMESPACE
from celes_beam.transforms.options import beam_options, is_native, new_pipeline
from celes_beam.transforms.pubsub import PullMessages, ReadNativeBatches
from celes_beam.transforms.pubsub_native import GatherMessages

SUBSCRIPTION = "projects/celes-dev/subscriptions/ventas"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"subscription": "ventas"}, "expected projects/PROJECT/subscriptions/NAME"),
        ({"max_batch_rows": 0}, "max_batch_rows=0: expected more than 0"),
        ({"max_batch_seconds": -1.0}, "max_batch_seconds=-1.0"),
        ({"max_batch_bytes": 0}, "max_batch_bytes=0"),
        ({"max_messages": 0}, "max_messages=0"),
        ({"idle_timeout": float("nan")}, "idle_timeout=nan"),
        ({"deadline": 0.0}, "deadline=0.0"),
    ],
)
def test_arguments_are_checked_when_it_is_made(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PullMessages(**({"subscription": SUBSCRIPTION, "run_id": "r"} | arguments))


def test_arguments_of_the_native_one_are_checked() -> None:
    with pytest.raises(ConfigError, match="max_batch_seconds=0"):
        ReadNativeBatches(SUBSCRIPTION, max_batch_seconds=0)
    with pytest.raises(ConfigError, match="--subscription x"):
        ReadNativeBatches("x")


@pytest.mark.parametrize(
    ("runner", "native"),
    [("DataflowRunner", True), ("DirectRunner", False), ("PrismRunner", False)],
)
def test_dataflow_is_native(runner: str, native: bool) -> None:
    assert is_native(beam_options(["--runner", runner])) is native


def graph(transform: beam.PTransform) -> Any:
    pipeline = beam.Pipeline(options=PipelineOptions(["--streaming"]))
    pipeline | transform | "Sink" >> beam.Map(len)
    return pipeline.to_runner_api()


def test_dataflow_reads_batches_makes_them_stable_and_only_then_writes() -> None:
    made = graph(ReadNativeBatches(SUBSCRIPTION, id_attribute="event"))

    by_name = {t.unique_name: t for t in made.components.transforms.values()}
    read = by_name["ReadNativeBatches/Read/Read"]
    assert read.spec.urn == "beam:transform:pubsub_read:v1"
    assert SUBSCRIPTION.encode() in read.spec.payload
    assert b"event" in read.spec.payload
    gather = by_name["ReadNativeBatches/Batch/Gather"]
    assert gather.spec.urn == "beam:transform:group_into_batches_with_sharded_key:v1"
    stable = by_name["ReadNativeBatches/Batch/Make stable"]
    assert stable.spec.urn == "beam:transform:reshuffle:v1"
    cut = by_name["ReadNativeBatches/Batch/Cut"]
    assert set(cut.outputs.values()) == set(stable.inputs.values())
    assert set(stable.outputs.values()) == set(by_name["Sink"].inputs.values())


def test_batches_cross_a_shuffle_in_their_own_coder() -> None:
    made = graph(ReadNativeBatches(SUBSCRIPTION))

    stable = next(
        t for t in made.components.transforms.values() if t.unique_name.endswith("Make stable")
    )
    (out,) = stable.outputs.values()
    context = PipelineContext(made.components)
    coder = context.coders.get_by_id(made.components.pcollections[out].coder_id)
    assert isinstance(coder, MessagesCoder)


def test_our_own_source_is_fused_to_what_follows() -> None:
    made = graph(PullMessages(SUBSCRIPTION, "r"))

    urns = {t.spec.urn for t in made.components.transforms.values()}
    assert not urns & {"beam:transform:reshuffle:v1", "beam:transform:group_by_key:v1"}
    (pull,) = (t for t in made.components.transforms.values() if "_PullFn" in t.unique_name)
    payload = beam.portability.api.beam_runner_api_pb2.ParDoPayload.FromString(pull.spec.payload)
    assert payload.requests_finalization
    assert payload.restriction_coder_id


def message(number: int, published: datetime | None) -> PubsubMessage:
    return PubsubMessage(b"%04d" % number, {"n": str(number)}, str(number), published)


def test_messages_are_gathered_to_batches_of_a_size() -> None:
    published = datetime(2024, 5, 3, 12, tzinfo=UTC)

    def check(batches: list[Messages]) -> None:
        assert sorted(n for batch in batches for n in batch.data) == [
            b"%04d" % n for n in range(2_500)
        ]
        assert all(0 < len(batch) <= 300 for batch in batches)
        assert len(batches) < 30
        for batch in batches:
            assert batch.ids == [str(int(data)) for data in batch.data]
            assert batch.attributes == [{"n": i} for i in batch.ids]
            assert set(batch.published) == {1_714_737_600_000_000}

    with new_pipeline(beam_options([])) as pipeline:
        batches = (
            pipeline
            | beam.Create([message(n, published) for n in range(2_500)])
            | GatherMessages(300, 1.0, 10_000)
        )
        assert_that(batches, check)
    found = pipeline.result.metrics().query(MetricsFilter().with_namespace(NAMESPACE))
    counts = {counter.key.metric.name: counter.result for counter in found["counters"]}
    assert counts == {"messages_pulled": 2_500, "message_bytes": 10_000}


def test_batches_are_cut_by_bytes_and_a_message_without_id_always_gets_the_same() -> None:
    bare = PubsubMessage(b"x" * 40, {}, None, None)

    def check(batches: list[Messages]) -> None:
        assert sorted(len(batch) for batch in batches) == [1, 2, 2, 2]
        ids = [i for batch in batches for i in batch.ids]
        assert len(set(ids)) == 1
        assert len(ids[0]) == 32

    with new_pipeline(beam_options([])) as pipeline:
        assert_that(
            pipeline | beam.Create([bare] * 7) | GatherMessages(300, 1.0, 100),
            check,
        )


texts = st.text(max_size=8)


@given(
    st.lists(
        st.tuples(
            st.binary(max_size=20),
            st.dictionaries(texts, texts, max_size=3),
            texts,
            st.integers(0, 2**52),
        ),
        max_size=5,
    )
)
def test_the_coder_gives_back_what_it_got(
    rows: list[tuple[bytes, dict[str, str], str, int]],
) -> None:
    messages = (
        Messages(*(list(column) for column in zip(*rows, strict=True)))
        if rows
        else (Messages([], [], [], []))
    )
    coder = coders.registry.get_coder(Messages)

    found = coder.decode(coder.encode(messages))

    assert (found.data, found.attributes) == (messages.data, messages.attributes)
    assert (found.ids, found.published) == (messages.ids, messages.published)
    assert coder.encode(found) == coder.encode(messages)
