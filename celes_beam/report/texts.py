"""The words of a report: what each language must have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from celes_beam.report.reader_format import ReaderFormat


@dataclass(frozen=True, kw_only=True)
class Texts:
    """One language. Names in braces are filled in with figures that are written already."""

    language: str
    form: ReaderFormat

    title: str
    made: str
    period: str
    skip: str
    sections: str
    no_script: str
    not_drawn: str
    footer: str

    answer: str
    no_rows: str
    lead_category: str
    lead_region: str
    lead_month: str
    total: str
    sales: str
    mean: str
    share: str
    category: str
    region: str
    month: str
    total_by_category: str
    mean_by_region: str
    by_month: str
    exact_figures: str
    monthly_total: str
    monthly_sales: str
    overall_mean: str
    thousands: str
    millions: str
    first_of: str
    other_categories: str
    other_regions: str
    partial_months: str
    alt_categories: str
    alt_regions: str
    alt_months: str
    alt_one: str

    runs: str
    plain_folder: str
    reconciled: str
    replayed: str
    read: str
    accepted: str
    rejected: str
    files: str
    size: str
    partitions: str
    partitioned_by: str
    not_partitioned: str
    commits: str
    commits_replaced: str
    rejected_by_reason: str
    nothing_rejected: str
    reason: str
    rows: str
    examples: str
    example: str
    example_raw: str
    example_file: str
    nothing: str
    commit_list: str
    earlier_commits: str
    commit: str
    when: str
    origin: str
    live: str
    generated: str
    streamed: str
    from_replay: str
    more_inputs: str
    merged: str
    reasons: Mapping[str, str]
    kinds: Mapping[str, str]

    engines: str
    agree: str
    one_result: str
    no_result: str
    disagree: str
    other_data: str
    engine: str
    state: str
    work: str
    startup: str
    memory: str
    bytes_read: str
    unknown: str
    result: str
    same: str
    states: Mapping[str, str]
    engine_table: str
    engine_size: str
    time_chart: str
    memory_chart: str
    time_by_rows: str
    memory_by_rows: str
    seconds_axis: str
    work_axis: str
    megabytes_axis: str
    rows_axis: str
    median_note: str
    not_run: str
    differences: str
    more_differences: str
    against: str
    where: str
    column: str
    value: str
    expected: str
    absent: str
    alt_times: str
    alt_memory: str
    alt_time_lines: str
    alt_memory_lines: str

    method: str
    exact: str
    pass_name: str
    pass_: str
    how_measured: str
    report_machine: str
    comparison_machine: str
    cores: str
    memory_of_machine: str
    versions: str
    comparison_versions: str
    rounds: str
    compared: str
