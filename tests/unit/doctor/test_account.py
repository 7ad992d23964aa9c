from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from celes_beam.doctor.account import SERVICES, check_credentials, check_emulators
from celes_beam.doctor.check import State


@pytest.fixture(autouse=True)
def nothing_is_local(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in SERVICES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    # No credentials of whoever runs the tests, and no search for a machine of Google's.
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@pytest.mark.parametrize(("needed", "state"), [(True, State.FAILED), (False, State.WARNING)])
def test_missing_credentials_fail_when_they_are_needed(needed: bool, state: State) -> None:
    (check,) = check_credentials(None, needed=needed)
    assert check.state is state
    assert check.remedy == "run gcloud auth application-default login"


def test_credentials_that_are_no_file_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key.json").write_text(json.dumps({"type": "of mine"}))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    (check,) = check_credentials(None, needed=True)
    assert check.state is State.FAILED
    assert "key.json" in check.said


def test_local_services_need_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SERVICES.values():
        monkeypatch.setenv(variable, "127.0.0.1:1")
    (check,) = check_credentials("mine", needed=True)
    assert (check.state, check.said) == (
        State.OK,
        "none needed: all services are local; project mine",
    )


def test_local_services_that_are_named_have_to_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_emulators() == []
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as silent:
        # Bound, and so nobody else's, but without a listener.
        silent.bind(("127.0.0.1", 0))
        there = f"127.0.0.1:{server.getsockname()[1]}"
        nobody = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", there)
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", nobody)
        monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:port")
        storage, bigquery, pubsub = check_emulators()
    assert (pubsub.state, pubsub.said) == (
        State.OK,
        f"listens at PUBSUB_EMULATOR_HOST={there}",
    )
    assert storage.state is State.FAILED
    assert f"nobody listens at STORAGE_EMULATOR_HOST={nobody}" in storage.said
    assert "celes-beam local up" in storage.remedy
    assert bigquery.state is State.FAILED
    assert "is not an address" in bigquery.said
