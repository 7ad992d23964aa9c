"""Private buckets, against a server that keeps the settings of buckets."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from celes_beam.errors import UsageError
from celes_beam.stores.cloud.buckets import (
    check_bucket_name,
    check_kms_key,
    find_bucket,
    look_at_privacy,
    make_private_bucket,
)
from celes_beam.stores.cloud.clients import storage_client

KEY = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"


@pytest.fixture
def name(settings_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", settings_server)
    return f"b-{uuid.uuid4().hex[:12]}"


def open_bucket(name: str) -> Any:
    return storage_client().create_bucket(name)


def seen(name: str) -> Any:
    bucket = find_bucket(name)
    assert bucket is not None
    return look_at_privacy(bucket)


def test_a_new_bucket_is_private_and_encrypted_with_the_key(name: str) -> None:
    assert find_bucket(name) is None
    make_private_bucket(name, kms_key=KEY)
    bucket = find_bucket(name)
    assert bucket is not None
    assert bucket.iam_configuration.public_access_prevention == "enforced"
    assert bucket.iam_configuration.uniform_bucket_level_access_enabled
    assert bucket.default_kms_key_name == KEY
    assert look_at_privacy(bucket).public == look_at_privacy(bucket).doubts == ()


def test_a_bucket_that_another_made_first_is_returned_as_it_is(name: str) -> None:
    open_bucket(name)
    bucket = make_private_bucket(name)
    assert bucket.iam_configuration.public_access_prevention != "enforced"


def test_a_bucket_open_to_everybody_is_told_by_its_policy(name: str) -> None:
    bucket = open_bucket(name)
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    bucket.set_iam_policy(policy)
    assert seen(name).public == ("allUsers has roles/storage.objectViewer",)


def test_a_bucket_open_to_everybody_is_told_by_the_access_of_new_objects(name: str) -> None:
    bucket = open_bucket(name)
    bucket._patch_property("defaultObjectAcl", [{"entity": "allUsers", "role": "READER"}])
    bucket.patch()
    assert seen(name).public == ("allUsers may read new objects (default object ACL)",)


def test_prevention_settles_it_whatever_the_policy_says(name: str) -> None:
    bucket = make_private_bucket(name)
    policy = bucket.get_iam_policy(requested_policy_version=3)
    policy.bindings.append({"role": "roles/storage.objectViewer", "members": {"allUsers"}})
    bucket.set_iam_policy(policy)
    assert seen(name).public == ()


def test_a_bucket_that_could_become_public_is_a_doubt(name: str) -> None:
    open_bucket(name)
    (doubt,) = seen(name).doubts
    assert f"gcloud storage buckets update gs://{name} --public-access-prevention" in doubt


@pytest.mark.parametrize(
    "name", ["", "ab", "Sales", "-sales", "sales-", "a..b", "1.2.3.4", "x" * 64, "ventas año"]
)
def test_names_that_no_bucket_can_have_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="expected 3 to 63 of a-z"):
        check_bucket_name(name)


def test_a_bucket_may_be_named_as_a_url() -> None:
    assert check_bucket_name("gs://ventas-2024/") == "ventas-2024"
    with pytest.raises(UsageError, match="a folder goes into --prefix"):
        check_bucket_name("gs://ventas-2024/enero")


@pytest.mark.parametrize("key", ["k", "projects/p/cryptoKeys/k", f"{KEY}/cryptoKeyVersions/1"])
def test_keys_are_named_in_full(key: str) -> None:
    with pytest.raises(UsageError, match="expected projects/PROJECT/locations/LOCATION"):
        check_kms_key(key)
