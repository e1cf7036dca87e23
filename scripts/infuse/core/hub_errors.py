"""Why the hub did not do what was asked, in one line; a server's own words might hold a token."""

from __future__ import annotations

from collections.abc import Iterator

from infuse.core.errors import first_line

HIDDEN = "the hub has no such repository, or shows it to others alone (HF_TOKEN)"


def complaint(failure: BaseException, revision: str = "main") -> str | None:
    """What the hub has against it, where the failure is one of the hub."""
    return refused(failure, revision) or unreachable(failure)


def unreachable(failure: BaseException) -> str | None:
    """That the hub can't be reached, where this is why."""
    from httpx2 import TransportError

    for error in _chain(failure):
        if isinstance(error, ConnectionError | TransportError):
            return f"the hub can't be reached ({type(error).__name__}: {first_line(error)})"
    return None


def refused(failure: BaseException, revision: str = "main") -> str | None:
    """Why the hub refused, where it did."""
    from huggingface_hub import errors

    for error in _chain(failure):
        match error:
            case errors.GatedRepoError():
                return "it is gated: accept its licence on the hub, then set HF_TOKEN"
            case errors.RepositoryNotFoundError():
                return HIDDEN
            case errors.RevisionNotFoundError():
                return f"the hub has no revision {revision} of it"
            case errors.RemoteEntryNotFoundError():  # of one file: the library tells it better
                return None
            case errors.HfHubHTTPError():
                asked = error.response.request.headers
                return _status(error.response.status_code, "authorization" in asked)
    return None


def _status(status: int, known: bool) -> str:
    """What a status says to those who are `known` by a token, or not."""
    reasons = {
        401: "the hub does not know the token (HF_TOKEN)" if known else HIDDEN,
        403: "the hub forbids it to this token (HF_TOKEN)",
    }
    return reasons.get(status, f"the hub answers with HTTP {status}")


def _chain(failure: BaseException | None) -> Iterator[Exception]:
    """The error and what it came from: libraries raise their own in place of the client's."""
    while failure is not None:
        if isinstance(failure, Exception):
            yield failure
        failure = failure.__cause__ or failure.__context__
