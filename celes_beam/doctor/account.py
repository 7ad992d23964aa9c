"""Which account is in use, and which services are local ones of this machine."""

from __future__ import annotations

import os
import socket
import warnings
from collections.abc import Iterator
from urllib.parse import urlsplit

from celes_beam.doctor.check import REQUEST_SECONDS, Check, State
from celes_beam.stores.cloud.clients import (
    BIGQUERY_EMULATOR,
    LOCAL_PROJECT,
    PUBSUB_EMULATOR,
    STORAGE_EMULATOR,
)
from celes_beam.stores.cloud.failures import CREDENTIALS_REMEDY, cloud_errors

SERVICES = {
    "Cloud Storage": STORAGE_EMULATOR,
    "BigQuery": BIGQUERY_EMULATOR,
    "Pub/Sub": PUBSUB_EMULATOR,
}
"""Each service, and the variable that names a local one in its place."""
LOCAL_REMEDY = "start it (celes-beam local up), or unset {} to use Google's"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_CONNECT_SECONDS = 3.0


def check_emulators() -> list[Check]:
    """A line for each local service that a variable names: whether somebody listens there."""
    return [
        _listens(service, variable, os.environ[variable])
        for service, variable in SERVICES.items()
        if os.environ.get(variable)
    ]


def no_answer(service: str, fallback: str) -> str:
    """What to do when a service does not answer, which depends on whether it is a local one."""
    variable = SERVICES[service]
    return LOCAL_REMEDY.format(variable) if os.environ.get(variable) else fallback


def _listens(service: str, variable: str, address: str) -> Check:
    name, place = f"local {service}", f"{variable}={address}"
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        host = None
    if not host:
        remedy = f"export {variable}=http://127.0.0.1:PORT, or unset it to use Google's"
        return Check(name, State.FAILED, f"{place} is not an address", remedy)
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        said = f"nobody listens at {place} ({error.strerror or error})"
        return Check(name, State.FAILED, said, LOCAL_REMEDY.format(variable))
    return Check(name, State.OK, f"listens at {place}")


def check_credentials(project: str | None, *, needed: bool) -> Iterator[Check]:
    """The account that Google's services see, with its project, after a token was got for it.

    Without credentials the check fails when they are ``needed``, and is a warning otherwise.
    Raises ``CelesError`` for credentials that are refused.
    """
    import google.auth  # noqa: PLC0415 - slow to import: not for --help
    from google.auth import exceptions  # noqa: PLC0415
    from google.auth.transport.requests import Request  # noqa: PLC0415

    if all(os.environ.get(variable) for variable in SERVICES.values()):
        said = f"none needed: all services are local; project {project or LOCAL_PROJECT}"
        yield Check("credentials", State.OK, said)
        return
    try:
        with warnings.catch_warnings():
            # That a person's credentials have no quota project is nothing for us.
            warnings.simplefilter("ignore", UserWarning)
            credentials, found = google.auth.default(scopes=[_SCOPE])
    except exceptions.DefaultCredentialsError as error:
        state = State.FAILED if needed else State.WARNING
        said = f"no usable Google Cloud credentials: {_first_sentence(error)}"
        yield Check("credentials", state, said, CREDENTIALS_REMEDY)
        return
    with cloud_errors("use", "the Google Cloud credentials of this machine"):
        session = Request()
        credentials.refresh(
            lambda *args, **more: session(*args, **{**more, "timeout": REQUEST_SECONDS})
        )
    account = (
        getattr(credentials, "service_account_email", "")
        or getattr(credentials, "account", "")
        or f"a person's, as gcloud left them ({type(credentials).__name__})"
    )
    yield Check("credentials", State.OK, f"account {account}")
    if project or found:
        yield Check("project", State.OK, project or found)
    else:
        remedy = "give --project, or run gcloud config set project PROJECT"
        yield Check("project", State.WARNING, "neither given nor configured", remedy)


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")
