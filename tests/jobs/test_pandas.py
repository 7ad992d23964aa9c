from __future__ import annotations

from pathlib import Path

import pytest

from pandas_jobs.aggregate import run
from tests.jobs.cases import CASES, Case, check_answer


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_answer_is_that_of_every_engine(tmp_path: Path, case: Case) -> None:
    check_answer(run, case, tmp_path)
