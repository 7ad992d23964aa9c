"""The table of ``docs/security.md`` has every grant of ``infra/``, and no other."""

from __future__ import annotations

import pytest

from tests.infra.grants import documented_grants, planned_grants
from tests.infra.terraform import Planned

pytestmark = pytest.mark.infra


def test_the_table_is_what_is_granted(planned: list[Planned]) -> None:
    assert set(documented_grants()) == planned_grants(planned)


def test_each_grant_has_a_reason_and_a_consequence() -> None:
    for grant, (why, without) in documented_grants().items():
        assert len(why) > 10, grant
        assert len(without) > 10, grant
