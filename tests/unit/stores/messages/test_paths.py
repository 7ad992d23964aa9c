import pytest

from celes_beam.errors import ConfigError
from celes_beam.stores.messages.paths import check_path, full_path


@pytest.mark.parametrize(
    "path",
    [
        "projects/celes-dev/subscriptions/ventas",
        "projects/example.com:celes-dev/subscriptions/v.e_n~t+a%s-1",
        "projects/celes-dev/subscriptions/" + "v" * 255,
    ],
)
def test_paths_are_what_they_were(path: str) -> None:
    assert check_path(path, "subscription") == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "ventas",
        "projects/celes-dev/topics/ventas",
        "projects/celes/subscriptions/v!",
        "projects/celes-dev/subscriptions/ve",
        "projects/celes-dev/subscriptions/1ventas",
        "projects/celes-dev/subscriptions/ventás",
        "projects/celes-dev/subscriptions/google-ventas",
        "projects/celes-dev/subscriptions/ventas\n",
        "projects/Celes-Dev/subscriptions/ventas",
        "projects/celes-dev/subscriptions/" + "v" * 256,
        "/projects/celes-dev/subscriptions/ventas",
    ],
)
def test_other_forms_name_the_flag(path: str) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)--from .*: expected projects/PROJECT/subscriptions/"
    ):
        check_path(path, "subscription", "--from")


def test_a_bare_name_is_one_of_the_local_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    assert full_path("ventas", "topic") == "projects/celes-dev/topics/ventas"

    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    with pytest.raises(ConfigError, match="--topic ventas"):
        full_path("ventas", "topic")
