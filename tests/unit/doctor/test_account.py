from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

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


@pytest.fixture
def token_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Gives the ``answer`` of what is yielded, with its ``status``, to a service account's key."""
    given: dict[str, Any] = {"status": 200, "answer": {"access_token": "x", "expires_in": 3600}}

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(given["status"])
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(given["answer"]).encode())

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tokens)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "client_email": "ventas@some-project.iam.gserviceaccount.com",
        "private_key": key.decode(),
        "private_key_id": "1",
        "project_id": "some-project",
        "token_uri": f"http://127.0.0.1:{server.server_port}/token",
    }
    (tmp_path / "key.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    yield given
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_account_in_use_is_named(token_server: dict[str, Any]) -> None:
    account, project = check_credentials(None, needed=True)
    assert (account.state, account.said) == (
        State.OK,
        "account ventas@some-project.iam.gserviceaccount.com",
    )
    assert (project.state, project.said) == (State.OK, "some-project")
    assert list(check_credentials("other", needed=True))[1].said == "other"


def test_refused_credentials_fail(token_server: dict[str, Any]) -> None:
    token_server.update(status=400, answer={"error": "invalid_grant"})
    (check,) = check_credentials(None, needed=True)
    assert check.state is State.FAILED
    assert "are refused" in check.said
    assert "invalid_grant" in check.said
