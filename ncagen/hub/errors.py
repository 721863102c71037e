"""Classifies errors of the Hub and of the connection to it: whether and when to retry, and the line to print.

The library's versions raise errors of different families (requests in 0.36, httpx in 1, httpx2 in 2, and hf_xet's below
them), so they are classified by what they carry: a response with a status, or none. A line never quotes a request: it
names the Hub's host, the dataset and, for a response, the status and the server's message.
"""

import email.utils
import re
import time
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import huggingface_hub
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

from ncagen.dataset.shard import one_line
from ncagen.errors import NcagenError

LOGIN = "run `hf auth login`, or set HF_TOKEN"
PASSING = {408, 412, 425, 429, 500, 502, 503, 504}

# hf_xet raises ConnectionError for every failed response, with the status in its text.
_XET_STATUS = re.compile(r"HTTP status (?:client|server) error \((\d{3})")
_SYSTEM = re.compile(r"\[Errno -?\d+\] [\w ]+")
_TRANSPORT = {"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"}


@dataclass(frozen=True)
class Failure:
    """A failed request. status: of the Hub's response; None without one. code: the Hub's error code, or ncagen's.

    passing: whether the same request may succeed later. wait: seconds that the Hub requests. file: the requested path.
    """

    status: int | None
    code: str
    message: str
    passing: bool
    wait: float = 0.0
    file: str = ""


def classify(error: BaseException) -> Failure | None:
    """Classifies an error of the library; None for one that is not about the Hub."""
    chain = _chain(error)
    for cause in chain:
        response = getattr(cause, "response", None)
        if response is not None and hasattr(response, "status_code"):
            status, headers = response.status_code, response.headers
            code, message = headers.get("X-Error-Code", ""), getattr(cause, "server_message", None) or ""
            file = re.search(r"/resolve/[^/]+/([^?]+)", str(response.url))
            return Failure(
                status,
                code,
                _clean(message),
                status in PASSING,
                requested_wait(headers),
                unquote(file[1]) if file else "",
            )
    for cause in chain:
        if isinstance(cause, OfflineModeIsEnabled):
            return Failure(None, "Offline", "", False)
        if match := _XET_STATUS.search(str(cause)):
            return Failure(int(match[1]), "", "", int(match[1]) in PASSING)
        if type(cause).__module__.split(".")[0] in _TRANSPORT or isinstance(cause, ConnectionError | TimeoutError):
            system = _SYSTEM.search(str(cause))
            return Failure(None, "Unreachable", system[0] if system else "", True)
    if isinstance(error, LocalEntryNotFoundError):
        return Failure(None, "Unreachable", "", True)
    if isinstance(error, HFValidationError):
        return Failure(None, "Invalid", _clean(str(error)), False)
    if type(error) is RuntimeError:  # hf_xet's, for any error of its storage server
        return Failure(None, "Storage", _clean(str(error)), True)
    return None


def user_error(found: Failure, name: str, revision: str | None = None) -> NcagenError:
    """The error to raise for a failed request about a dataset, with one line for the user."""
    return NcagenError(_line(found, name, revision))


def not_logged_in() -> NcagenError:
    """The error to raise without a login."""
    return NcagenError(f"not logged in to {host()}: {LOGIN}")


def host() -> str:
    """The Hub's host, without the credentials that its URL may contain."""
    return urlsplit(huggingface_hub.constants.ENDPOINT).netloc.rpartition("@")[2]


def _line(found: Failure, name: str, revision: str | None) -> str:
    detail = f" ({found.message})" if found.message else ""
    if found.code == "Offline":
        return f"{host()} is not asked because HF_HUB_OFFLINE is set: unset it"
    if found.code == "Unreachable":
        return f"{host()} cannot be reached{detail}: look at the network, or at HF_ENDPOINT if it is set"
    if found.code == "RevisionNotFound":
        return f"{name} on {host()} has no revision {revision!r}: use a branch, a tag or a commit of it"
    if found.code == "EntryNotFound":
        return f"{name} on {host()} holds no dataset of ncagen: there is no {found.file or 'such file'} in it"
    if found.code == "RepoNotFound" or found.status == 404:
        return f"{name} is not on {host()}, or is private and not for this login: look at the name, or {LOGIN}"
    if found.status == 401:
        return f"{host()} does not take this login{detail}: {LOGIN}"
    if found.status == 403:
        return f"{name} on {host()} is not yours to write{detail}: use a name of your own, or a token that may write"
    if found.status is None:
        return f"{name} on {host()}: {found.message or 'unknown error'}"
    return f"{host()} answers {found.status} for {name}{detail}"


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _clean(message: str) -> str:
    """A server's message in one line, without the token that the request carried."""
    line, token = one_line(Exception(message)), huggingface_hub.get_token()
    return line.replace(token, "...") if token else line


def requested_wait(headers) -> float:
    """Seconds to wait by a response's headers: Retry-After, as a number or a date, or else its RateLimit."""
    value = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", value):
        return _seconds(value)
    if value and (date := email.utils.parsedate_tz(value)):
        try:
            return max(0.0, email.utils.mktime_tz(date) - time.time())
        except (ValueError, OverflowError):  # a year out of range
            return 0.0
    limit = re.search(r"\br=0;\s*t=([0-9]+)", headers.get("RateLimit", ""))
    return _seconds(limit[1]) if limit else 0.0


def _seconds(digits: str) -> float:
    """A number of any length, at most 1e15."""
    return min(float(digits), 1e15)
