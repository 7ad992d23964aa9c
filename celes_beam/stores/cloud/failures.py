"""What Google's services refuse, as errors of ours: one line that names the thing and a remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celes_beam.errors import CelesError, StorageError, UsageError

CREDENTIALS_REMEDY = "run gcloud auth application-default login"


@contextmanager
def cloud_errors(verb: str, what: str, *, needs: str = "") -> Iterator[None]:
    """Turn what a client raises while it does ``verb`` to ``what`` into one of our errors.

    ``needs`` is the role that allows it, for the message of a refusal. Raises ``UsageError`` for
    missing credentials, permissions and buckets, ``StorageError`` for what may pass.
    """
    # Slow to import; whoever is here has them already.
    import requests  # noqa: PLC0415
    from google.api_core import exceptions  # noqa: PLC0415
    from google.auth import exceptions as auth  # noqa: PLC0415

    try:
        yield
    except CelesError:
        raise
    except auth.DefaultCredentialsError as error:
        raise UsageError(
            f"cannot {verb} {what}: no usable Google Cloud credentials: {CREDENTIALS_REMEDY}"
        ) from error
    except (exceptions.Forbidden, exceptions.Unauthorized, auth.RefreshError) as error:
        role = f"; grant {needs} on it" if needs else "; ask for the permission"
        raise UsageError(f"cannot {verb} {what}: not allowed ({_said(error)}){role}") from error
    except exceptions.NotFound as error:
        raise UsageError(f"cannot {verb} {what}: not found ({_said(error)})") from error
    except (
        exceptions.GoogleAPIError,
        auth.GoogleAuthError,
        requests.exceptions.RequestException,
        OSError,
    ) as error:
        raise StorageError(f"cannot {verb} {what}: {_said(error)}; run it again") from error


def _said(error: BaseException) -> str:
    message = getattr(error, "message", "") or str(error) or type(error).__name__
    # Of tries that came to an end, the reason is what the last one met.
    last = getattr(error, "cause", None)
    if isinstance(last, BaseException):
        message = f"{message}, at last {getattr(last, 'message', '') or last}"
    return " ".join(str(message).split())[:500]
