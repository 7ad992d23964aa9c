"""Names of topics and subscriptions: ``projects/P/topics/T`` and ``projects/P/subscriptions/S``."""

from __future__ import annotations

import re
from typing import Literal

from celes_beam.errors import ConfigError
from celes_beam.stores.cloud.clients import LOCAL_PROJECT, pubsub_is_emulated

Kind = Literal["topic", "subscription"]

DELETED_TOPIC = "_deleted-topic_"
"""What Pub/Sub calls the topic of a subscription whose topic was deleted."""
_ID = r"[A-Za-z][\w.~+%-]{2,254}"
_PROJECT = r"(?:[a-z0-9.-]+:)?[a-z][a-z0-9-]{3,61}[a-z0-9]"


def check_path(path: str, kind: Kind, flag: str | None = None) -> str:
    """Return ``path`` as it is. Raises ``ConfigError``, naming ``flag``, for another form."""
    name = path.rsplit("/", 1)[-1]
    form = rf"projects/{_PROJECT}/{kind}s/{_ID}"
    if not re.fullmatch(form, path, re.ASCII) or name.startswith("goog"):
        raise ConfigError(
            f"{flag or f'--{kind}'} {path}: expected projects/PROJECT/{kind}s/NAME, with a name of "
            "3 to 255 letters, digits and -_.~+% that begins with a letter, and not with goog"
        )
    return path


def full_path(name: str, kind: Kind, flag: str | None = None) -> str:
    """As ``check_path``; where Pub/Sub is a stand-in, a bare name is one of the local project."""
    if "/" not in name and pubsub_is_emulated():
        name = f"projects/{LOCAL_PROJECT}/{kind}s/{name}"
    return check_path(name, kind, flag)


def project_of(path: str) -> str:
    """The project of a path that has the right form."""
    return path.split("/")[1]
