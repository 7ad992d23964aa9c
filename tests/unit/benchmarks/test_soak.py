"""Samples of a long stream, and whether its memory grows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.soak_checks import Check
from benchmarks.soak_samples import Sample, growth, write_csv, write_svg

BEFORE = {
    "messages_total": 1000.0,
    "latency_seconds_count": 1000.0,
    "latency_seconds_sum": 500.0,
    "bucket 0.5": 700.0,
    "bucket 1.0": 1000.0,
    "bucket inf": 1000.0,
    "process_cpu_seconds_total": 10.0,
}
NOW = {
    "messages_total": 6000.0,
    "latency_seconds_count": 6000.0,
    "latency_seconds_sum": 3500.0,
    "bucket 0.5": 5000.0,
    "bucket 1.0": 5990.0,
    "bucket inf": 6000.0,
    "process_cpu_seconds_total": 11.0,
    "process_resident_memory_bytes": 2e8,
    "oldest_unacked_seconds": 0.25,
}
SAMPLE = Sample.between(BEFORE, NOW, seconds=30.0, took=5.0)


def test_a_sample_is_of_what_came_between_two_readings() -> None:
    assert Sample(30.0, 200.0, 6000, 1000.0, 0.6, 1.0, 0.2, 0.25) == SAMPLE


def test_where_nothing_came_there_is_no_latency() -> None:
    quiet = Sample.between(NOW, NOW, seconds=35.0, took=5.0)
    assert (quiet.per_second, quiet.latency_mean, quiet.latency_p99) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("last", "grown"), [(200.0, 0.0), (230.0, 0.15), (190.0, -0.05)])
def test_growth_is_that_of_the_last_third(last: float, grown: float) -> None:
    samples = [replace(SAMPLE, memory_mb=mb) for mb in [50.0] * 3 + [200.0] * 3 + [last] * 3]
    assert growth(samples) == pytest.approx(grown)


def test_few_samples_tell_nothing_of_growth() -> None:
    with pytest.raises(ValueError, match="2 samples are too few"):
        growth([SAMPLE, SAMPLE])


def test_samples_as_a_table_and_as_curves(tmp_path: Path) -> None:
    samples = [SAMPLE, replace(SAMPLE, seconds=35.0, memory_mb=210.0)]
    write_csv(samples, tmp_path / "soak.csv")
    write_svg(samples, tmp_path / "soak.svg")

    lines = list(csv.DictReader((tmp_path / "soak.csv").read_text().splitlines()))
    assert [line["memory_mb"] for line in lines] == ["200.0", "210.0"]
    drawn = ElementTree.parse(tmp_path / "soak.svg").getroot()
    curves = drawn.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(curve.attrib["points"].split()) for curve in curves] == [2, 2, 2, 2]


def test_a_check_holds_when_both_are_the_same() -> None:
    assert Check("rows", 3, 3).holds
    assert not Check("rows", (3, 0), (3, 1)).holds
