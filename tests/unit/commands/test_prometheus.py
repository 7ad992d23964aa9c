import re
import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from celes_beam.commands.prometheus import PREFIX, serve_metrics
from celes_beam.commands.stream_status import StreamMeter
from celes_beam.contract import REASONS
from celes_beam.errors import UsageError
from celes_beam.stores.messages.receiver import Figures
from celes_beam.transforms import metrics
from tests.tools import ROOT
from tests.unit.commands.test_stream_status import DELIVERED


def scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        assert answer.status == 200
        text = answer.read().decode()
    return {
        sample.name + "".join(f"{{{v}}}" for v in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def served() -> Iterator[tuple[StreamMeter, str]]:
    meter = StreamMeter()
    with serve_metrics(0, meter) as url:
        assert url is not None
        yield meter, url


def test_every_scrape_reads_the_meter(served: tuple[StreamMeter, str]) -> None:
    meter, url = served
    before = scrape(url)
    meter.add(DELIVERED)
    meter.committed()
    meter.follow(lambda: Figures(pulled=25, acked=20, oldest_unacked_seconds=1.5))
    after = scrape(url)

    ours = {name for name in before if name.startswith(PREFIX)}
    assert ours == {name for name in after if name.startswith(PREFIX)}
    assert {before[name] for name in ours} == {0}
    told = {
        "messages_pulled_total": 25,
        "messages_acked_total": 20,
        "messages_total": 10,
        "messages_duplicate_total": 2,
        "batches_total": 1,
        "rows_read_total": 9,
        "rows_accepted_total": 6,
        "rows_rejected_total{missing}": 2,
        "rows_rejected_total{refused}": 1,
        "rows_rejected_total{malformed}": 0,
        "rows_refused_total": 1,
        "rows_with_unknown_fields_total": 4,
        "dead_letters_total": 3,
        "lake_commits_total": 1,
        "oldest_unacked_seconds": 1.5,
        "latency_seconds_count": 8,
        "latency_seconds_sum": 2,
        "latency_seconds_bucket{0.1}": 0,
        "latency_seconds_bucket{+Inf}": 8,
    }
    assert {name: after[PREFIX + name] for name in told} == told
    assert sum(f"rows_rejected_total{{{r}}}" in told for r in REASONS) == 3
    assert sum(name.startswith(f"{PREFIX}rows_rejected_total") for name in ours) == len(REASONS)


def test_it_ends_with_the_run_and_is_of_this_machine_alone() -> None:
    with serve_metrics(0, StreamMeter()) as url:
        assert url is not None
        port = int(re.sub(r"\D", "", url.rsplit(":", 1)[1]))
        assert url == f"http://127.0.0.1:{port}/metrics"
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=10)
    with serve_metrics(port, StreamMeter()) as again:
        assert again == url


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=rf"--metrics_port {port} cannot be had \(Addr.* use\)"),
            serve_metrics(port, StreamMeter()),
        ):
            pass


def test_without_a_port_nothing_is_served() -> None:
    with serve_metrics(None, StreamMeter()) as url:
        assert url is None


def test_the_page_of_metrics_and_the_code_agree(served: tuple[StreamMeter, str]) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("| `") or line.startswith("| –")
    ]
    kinds = {"DelegatingCounter": "counter", "DelegatingDistribution": "distribution"}
    beam = {
        metric.metric_name.name: kinds[type(metric).__name__]
        for metric in vars(metrics).values()
        if hasattr(metric, "metric_name")
    }
    assert {name: kind for name, kind, _, _ in rows if name != "–"} == beam
    assert all(meaning for *_, meaning in rows)

    with urllib.request.urlopen(served[1], timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        ours = {
            f"{f.name}_total" if f.type == "counter" else f.name
            for f in families
            if f.name.startswith(PREFIX) and f.documentation
        }
    assert {name.removesuffix("{reason}") for _, _, name, _ in rows} - {"–"} == ours
