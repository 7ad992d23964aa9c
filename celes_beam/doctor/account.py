"""Which account is in use, and which services are local ones of this machine."""

from __future__ import annotations

import functools
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from celes_beam.doctor.check import REQUEST_SECONDS, Check, State
from celes_beam.errors import StorageError
from celes_beam.stores.cloud.clients import (
    BIGQUERY_EMULATOR,
    LOCAL_PROJECT,
    PUBSUB_EMULATOR,
    STORAGE_EMULATOR,
)
from celes_beam.stores.cloud.failures import CREDENTIALS_REMEDY

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


def unanswered(name: str, service: str, error: StorageError) -> Check:
    """The failed check of a service that gave no answer, or one that it failed itself."""
    import requests  # noqa: PLC0415 - slow to import: not for --help
    from google.api_core import exceptions  # noqa: PLC0415

    variable = SERVICES[service]
    address = os.environ.get(variable)
    silent = (
        requests.exceptions.ConnectionError,
        requests.exceptions.Timeout,
        exceptions.ServiceUnavailable,
        exceptions.DeadlineExceeded,
    )
    said = str(error)
    if isinstance(error.__cause__, silent):
        said = f"{service} does not answer" + (f" at {variable}={address}" if address else "")
    remedy = LOCAL_REMEDY.format(variable) if address else "check the network, then run it again"
    return Check(name, State.FAILED, said, remedy)


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
    try:
        # Google's own limit for a token is two minutes.
        credentials.refresh(functools.partial(_ask, Request()))
    except exceptions.RefreshError as error:
        said = f"the credentials of this machine are refused: {_first_sentence(error)}"
        yield Check("credentials", State.FAILED, said, CREDENTIALS_REMEDY)
        return
    except exceptions.TransportError as error:
        said = f"nobody gives a token for the credentials: {_first_sentence(error)}"
        yield Check("credentials", State.FAILED, said, "check the network, then run it again")
        return
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


def _ask(send: Any, *args: Any, **settings: Any) -> Any:
    return send(*args, **{**settings, "timeout": REQUEST_SECONDS})


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].rstrip(".")
