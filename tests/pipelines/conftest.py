"""What tests of whole pipelines share."""

from __future__ import annotations

import pytest

from tests.tools import need_tool


@pytest.fixture(params=["DirectRunner", "PrismRunner"])
def runner(request: pytest.FixtureRequest) -> list[str]:
    """Flags of each runner that a laptop has."""
    if request.param == "DirectRunner":
        return ["--runner", "DirectRunner"]
    return ["--runner", "PrismRunner", "--prism_location", need_tool("prism", "make prism")]
