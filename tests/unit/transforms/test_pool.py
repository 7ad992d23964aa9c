from __future__ import annotations

import pytest

from celes_beam.errors import ConfigError
from celes_beam.transforms.pool import check_threads


def test_a_negative_number_of_threads_is_refused() -> None:
    check_threads(0)
    with pytest.raises(ConfigError, match="threads=-1"):
        check_threads(-1)
