"""Clients of Google's services: how they reach them."""

from __future__ import annotations

import pytest
import requests

from celes_beam.stores.cloud.clients import STORAGE_EMULATOR, new_storage_client

PROXY = "http://proxy.example:3128"
VARIABLES = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE"]
VARIABLES += [name.lower() for name in VARIABLES] + ["CURL_CA_BUNDLE"]


@pytest.mark.parametrize(
    ("place", "environment"),
    [
        ("http://storage.example", {"HTTP_PROXY": PROXY}),
        ("https://storage.example", {"HTTPS_PROXY": PROXY}),
        ("https://storage.example", {"ALL_PROXY": PROXY, "NO_PROXY": "other.example"}),
        ("http://storage.example", {"HTTP_PROXY": PROXY, "NO_PROXY": "storage.example"}),
        ("http://127.0.0.1:4443", {"HTTP_PROXY": PROXY, "NO_PROXY": "localhost,127.0.0.1"}),
        ("https://storage.example", {"REQUESTS_CA_BUNDLE": "/etc/ours.pem"}),
        ("https://storage.example", {"CURL_CA_BUNDLE": "/etc/ours.pem"}),
        ("https://storage.example", {}),
    ],
)
def test_requests_go_the_way_that_the_environment_names(
    place: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(STORAGE_EMULATOR, place)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    url = f"{place}/storage/v1/b/bucket/o/object"
    expected = requests.Session().merge_environment_settings(url, {}, None, None, None)

    with new_storage_client()._http as session:
        found = session.merge_environment_settings(url, {}, None, None, None)
        assert dict(found) == dict(expected)
        # Nothing is looked up at each request.
        assert not session.trust_env
