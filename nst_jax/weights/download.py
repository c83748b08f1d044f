"""Known files from the servers that publish them."""

import logging
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch

from nst_jax.weights.contents import FetchError, WeightsError
from nst_jax.weights.registry import KnownFile

_LOG = logging.getLogger(__name__)

_SECONDS_TO_ANSWER = 5  # a server that is there, in all
_UNREACHED = "the server cannot be reached"
_TIMEOUT_SECONDS = (5, 60)  # to connect to one address, and between two pieces of data


def is_offline() -> bool:
    """Whether the user forbids every download."""
    return os.environ.get("NST_JAX_OFFLINE", "0") not in ("", "0")


def download(file: KnownFile, url: str, folder: Path) -> Path:
    """Downloads a file and checks its hash.

    The download goes to a temporary name and is moved into place once its hash fits, so that a cut
    connection leaves nothing behind.

    Returns:
        The file as it was published.

    Raises:
        WeightsError: It cannot be fetched or written, or is not what was published.
    """
    import requests  # for a download alone

    if is_offline():
        raise WeightsError(f"{url} was not fetched, for NST_JAX_OFFLINE is set")
    if not (folder / file.filename).is_file():
        _check_that_it_answers(url)
    _LOG.info(f"fetching {url} to {folder}")
    pooch.get_logger().setLevel("WARNING")
    downloader: Any = pooch.HTTPDownloader(
        progressbar=_LOG.isEnabledFor(logging.INFO),
        timeout=_TIMEOUT_SECONDS,
        hooks={"response": _stay_with_the_scheme},
    )
    try:
        return Path(
            pooch.retrieve(url, file.hash, fname=file.filename, path=folder, downloader=downloader)
        )
    except _OtherSchemeError as error:
        raise FetchError(url, str(error)) from error
    except requests.RequestException as error:
        raise FetchError(url, _reason(error)) from error
    except ValueError as error:  # pooch's word for a hash that does not fit
        raise WeightsError(
            f"{url} is not the file that was published (its hash differs from "
            f"{file.hash}); nothing was kept"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written ({error.strerror or error}); set NST_JAX_WEIGHTS "
            "to a folder that can"
        ) from error


def _check_that_it_answers(url: str) -> None:
    """Waits for any answer of a server, but not for long.

    A timeout of requests counts for each of the server's addresses, of which large hosts have a
    dozen, and not at all while a name is looked up.
    """
    import requests

    reasons: list[str | None] = []

    def ask() -> None:
        try:
            requests.head(url, timeout=_SECONDS_TO_ANSWER)
            reasons.append(None)
        except requests.RequestException as error:
            reasons.append(_reason(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ANSWER)
    reason = reasons[0] if reasons else _UNREACHED
    if reason:
        raise FetchError(url, reason)


def _reason(error: Any) -> str:
    """Why a request failed, in a few words."""
    import requests

    status = getattr(error.response, "status_code", None)
    if status:
        return f"the server answered {status}"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy cannot be reached, or refuses"
    if isinstance(error, requests.exceptions.SSLError):
        return "no secure connection can be made"
    return _UNREACHED


class _OtherSchemeError(Exception):
    """A server sent the download on to where it could be read or changed on the way."""


def _stay_with_the_scheme(response: Any, *args: Any, **kwargs: Any) -> None:
    before, after = urlsplit(response.url), urlsplit(response.headers.get("location", ""))
    if response.is_redirect and after.scheme not in ("", before.scheme):
        raise _OtherSchemeError(f"the server sends it on from {before.scheme} to {after.scheme}")
