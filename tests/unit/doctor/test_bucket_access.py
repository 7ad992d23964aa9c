from __future__ import annotations

from celes_beam.doctor.bucket_access import WRITES, permissions_check
from celes_beam.doctor.check import State


def test_permissions_that_lack_are_named_with_the_role_that_has_them() -> None:
    role = "roles/storage.objectUser on gs://ventas"
    check = permissions_check("output", WRITES, [*WRITES[:-2]], role)
    assert check.state is State.FAILED
    assert check.said == ("the account in use lacks storage.objects.create, storage.objects.delete")
    assert check.remedy == f"grant it {role}"
    assert permissions_check("output", WRITES, list(WRITES), role).state is State.OK
