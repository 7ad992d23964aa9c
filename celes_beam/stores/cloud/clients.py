"""Clients of Cloud Storage, BigQuery and Pub/Sub, for Google or for the local stand-ins.

A stand-in is named by the variable that Google's own libraries know: STORAGE_EMULATOR_HOST,
BIGQUERY_EMULATOR_HOST, PUBSUB_EMULATOR_HOST; that of BigQuery's Storage APIs, for which they know
none, by BIGQUERY_GRPC_EMULATOR_HOST. It takes no credentials, so none are looked for.
"""

from __future__ import annotations

import functools
import os
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from celes_beam.errors import UsageError

GCS_SCHEME = "gs://"
STORAGE_EMULATOR = "STORAGE_EMULATOR_HOST"
BIGQUERY_EMULATOR = "BIGQUERY_EMULATOR_HOST"
BIGQUERY_GRPC_EMULATOR = "BIGQUERY_GRPC_EMULATOR_HOST"
PUBSUB_EMULATOR = "PUBSUB_EMULATOR_HOST"
LOCAL_PROJECT = "celes-dev"
"""The project of local stand-ins, which hold whatever they are asked for."""
STORAGE_CONNECTIONS = 32
"""Requests to Cloud Storage that may be under way at once."""
_RETRY_LIMIT = timedelta(seconds=60)


def storage_client(project: str | None = None) -> Any:
    """The ``google.cloud.storage.Client`` of a project (of the credentials' one without it).

    Raises ``google.auth.exceptions.DefaultCredentialsError``; see ``failures.cloud_errors``.
    """
    return _storage_client(project, os.environ.get(STORAGE_EMULATOR))


def new_storage_client(project: str | None = None) -> Any:
    """As ``storage_client``, but one that shares its connections with nobody."""
    return _storage_client.__wrapped__(project, os.environ.get(STORAGE_EMULATOR))


def storage_retry(seconds: float = _RETRY_LIMIT.total_seconds()) -> Any:
    """How often a request to Cloud Storage is repeated, with growing pauses, up to ``seconds``."""
    from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

    return DEFAULT_RETRY.with_timeout(seconds)


def bigquery_client(project: str, location: str | None = None) -> Any:
    """The ``google.cloud.bigquery.Client`` that runs jobs in ``project`` and ``location``."""
    return _bigquery_client(project, location, os.environ.get(BIGQUERY_EMULATOR))


def bigquery_is_emulated() -> bool:
    """Whether BigQuery is a stand-in on this machine, which differs in a few ways."""
    return bool(os.environ.get(BIGQUERY_EMULATOR))


def bigquery_retry() -> Any:
    """How often a request to BigQuery is repeated that failed for a reason that passes.

    With growing pauses, up to a minute in all: Google's default of ten says nothing for that long.
    """
    from google.cloud.bigquery.retry import DEFAULT_RETRY  # noqa: PLC0415

    return DEFAULT_RETRY.with_timeout(_RETRY_LIMIT.total_seconds())


def write_client() -> Any:
    """A new ``BigQueryWriteClient`` (Storage Write API), to be closed as a context manager.

    Raises ``UsageError`` where BigQuery is a stand-in that is not said to have this API, for rows
    must not go to Google then.
    """
    # Slow to import, and needed for streaming alone.
    import grpc  # type: ignore[import-untyped]  # noqa: PLC0415
    from google.cloud.bigquery_storage_v1 import BigQueryWriteClient  # noqa: PLC0415
    from google.cloud.bigquery_storage_v1.services.big_query_write.transports import (  # noqa: PLC0415
        BigQueryWriteGrpcTransport,
    )

    place = os.environ.get(BIGQUERY_GRPC_EMULATOR)
    if place:
        channel = grpc.insecure_channel(place)
        return BigQueryWriteClient(transport=BigQueryWriteGrpcTransport(channel=channel))
    if bigquery_is_emulated():
        raise UsageError(
            f"{BIGQUERY_EMULATOR} is set and {BIGQUERY_GRPC_EMULATOR} is not: set it to HOST:PORT "
            "of the stand-in's gRPC server (celes-beam local env tells), or unset both for Google"
        )
    return BigQueryWriteClient()


def publisher_client() -> Any:
    """A new ``google.cloud.pubsub_v1.PublisherClient``, to be closed as a context manager."""
    from google.cloud import pubsub_v1  # noqa: PLC0415

    return pubsub_v1.PublisherClient()


def topic_client() -> Any:
    """A new ``google.pubsub_v1.PublisherClient``: the service itself, without queues of its own.

    To be closed as a context manager.
    """
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.pubsub_v1 import PublisherClient  # noqa: PLC0415

    return PublisherClient(credentials=AnonymousCredentials() if pubsub_is_emulated() else None)


def subscriber_client() -> Any:
    """A new ``google.cloud.pubsub_v1.SubscriberClient``, to be closed as a context manager."""
    from google.cloud import pubsub_v1  # noqa: PLC0415

    place = os.environ.get(PUBSUB_EMULATOR)
    if not place:
        return pubsub_v1.SubscriberClient()
    import grpc  # noqa: PLC0415
    from google.pubsub_v1.services.subscriber.transports import (  # noqa: PLC0415
        SubscriberGrpcTransport,
    )

    # From a stand-in it would by itself take no more than 4 MB in an answer; messages have 10.
    channel = grpc.insecure_channel(place, options=[("grpc.max_receive_message_length", -1)])
    return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def pubsub_is_emulated() -> bool:
    """Whether Pub/Sub is a stand-in on this machine."""
    return bool(os.environ.get(PUBSUB_EMULATOR))


def arrow_filesystem() -> Any:
    """The ``pyarrow.fs.GcsFileSystem`` that reads objects at any place; it has no version check."""
    return _arrow_filesystem(os.environ.get(STORAGE_EMULATOR))


# One client keeps its connections, and is safe to use from several threads; they are slow to make.
@functools.lru_cache(maxsize=8)
def _storage_client(project: str | None, emulator: str | None) -> Any:
    # Slow to import, and needed for gs:// alone.
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.cloud import storage  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    if emulator:
        anonymous = AnonymousCredentials()
        client = storage.Client(project=project or LOCAL_PROJECT, credentials=anonymous)
    else:
        client = storage.Client(project=project)
    # By itself it keeps ten connections, and makes those of further threads anew each time.
    for scheme in ("http://", "https://"):
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=STORAGE_CONNECTIONS))
    _read_environment_once(client._http, client._connection.API_BASE_URL)
    return client


def _read_environment_once(session: Any, url: str) -> None:
    """Give a session of ``requests`` the proxy and certificates that the environment names.

    It would look them up, and for a .netrc, at each request, which is a third of what that costs.
    """
    found = session.merge_environment_settings(url, {}, None, None, None)
    session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False


@functools.lru_cache(maxsize=8)
def _bigquery_client(project: str, location: str | None, emulator: str | None) -> Any:
    from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415
    from google.cloud import bigquery  # noqa: PLC0415

    from celes_beam.stores.cloud import answer_time  # noqa: PLC0415

    credentials = AnonymousCredentials() if emulator else None
    client = bigquery.Client(project=project, location=location, credentials=credentials)
    seconds = answer_time.STAND_IN_SECONDS if emulator else answer_time.ANSWER_SECONDS
    # The client has no setting for it, and its methods take a timeout, by default none.
    answer_time.give_up(client._http, seconds)
    return client


@functools.lru_cache(maxsize=8)
def _arrow_filesystem(emulator: str | None) -> Any:
    # Not part of every build of pyarrow.
    from pyarrow.fs import GcsFileSystem  # noqa: PLC0415

    if emulator:
        place = urlsplit(emulator if "://" in emulator else f"http://{emulator}")
        return GcsFileSystem(
            anonymous=True,
            scheme=place.scheme,
            endpoint_override=place.netloc,
            retry_time_limit=_RETRY_LIMIT,
        )
    return GcsFileSystem(retry_time_limit=_RETRY_LIMIT)
