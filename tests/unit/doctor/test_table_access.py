from __future__ import annotations

import pytest

from celes_beam.doctor.table_access import loads_from


@pytest.mark.parametrize(
    ("dataset", "bucket", "surely"),
    [
        ("US", "ASIA-EAST1", True),
        ("EU", "EU", True),
        ("EU", "EUROPE-WEST1", True),
        ("EU", "EUROPE-WEST2", False),
        ("EU", "US", False),
        ("US-CENTRAL1", "US-CENTRAL1", True),
        ("US-CENTRAL1", "US", False),
    ],
)
def test_datasets_load_from_buckets_near_them(dataset: str, bucket: str, surely: bool) -> None:
    assert loads_from(dataset, bucket) is surely
