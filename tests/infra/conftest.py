"""``infra/`` as terraform sees it, once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.terraform import EVERYTHING, Planned, Workspace, open_workspace


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return open_workspace(tmp_path_factory.mktemp("terraform"))


@pytest.fixture(scope="session")
def planned(workspace: Workspace) -> list[Planned]:
    """All that can be made."""
    return workspace.plan(EVERYTHING)


@pytest.fixture
def own_workspace(tmp_path: Path) -> Workspace:
    """For tests that change the files."""
    return open_workspace(tmp_path)
