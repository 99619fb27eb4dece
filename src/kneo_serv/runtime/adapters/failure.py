"""What is told when a foreign agent fails, which speaks with servers and keys that we know nothing of."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from kneo_serv.errors import KneoError, ProviderError
from kneo_serv.observe import redact_error

_LONGEST_DETAIL = 300
_BUSY = frozenset({408, 409, 425, 429})
"""HTTP statuses below 500 after which asking again may help."""
_NOT_REACHED = frozenset({"APIConnectionError", "ModelConnectionError", "TransportError"})
"""What the libraries of providers call an error of the connection, with everything that derives from it."""


@contextmanager
def translated(name: str, *, stop: type[Exception] | None = None, bound: int | None = None) -> Iterator[None]:
    """What a foreign agent raises comes out as ProviderError; our own errors and cancellation pass.

    Args:
        name: How the error calls the adapter.
        stop: What the agent's own loop raises when it has asked as often as it may.
        bound: How often that is, where the platform set it.
    """
    try:
        yield
    except KneoError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever foreign code raises is the adapter's failure
        # No cause is chained: exceptions of HTTP libraries quote what the server said.
        if stop is not None and isinstance(error, stop) and bound is not None:
            text = f"Adapter {name!r} asked its model {bound} times and came to no end. Raise strategy.max_iterations."
            raise ProviderError(text, provider=name) from None
        raise _failed(name, error) from None


def waits_for_people(name: str, tools: str) -> ProviderError:
    """The agent rests until a person agrees, in a place where nobody can tell it so."""
    text = (
        f"Adapter {name!r} waits for a person's word on {tools}, which cannot reach it here. "
        "Let people decide in the workflow, in a human step before or after this agent."
    )
    return ProviderError(text, provider=name)


def _failed(name: str, error: Exception) -> ProviderError:
    """The failure with the adapter's name and the type of the exception.

    What a server said is left out, since some quote the key that they refuse; only its HTTP status is told. Any other
    text is cut, and known shapes of secrets are masked in it.
    """
    status = next((found for each in _chain(error) if (found := _status(each)) is not None), None)
    text = f"Adapter {name!r} failed: {type(error).__name__}"
    if status is not None:
        transient = status in _BUSY or status >= 500
        return ProviderError(f"{text} (HTTP {status}).", provider=name, transient=transient)
    if any(_not_reached(each) for each in _chain(error)):
        return ProviderError(f"{text} (the connection failed).", provider=name, transient=True)
    detail = " ".join(redact_error(str(error)).split())
    detail = detail if len(detail) <= _LONGEST_DETAIL else f"{detail[:_LONGEST_DETAIL]}..."
    return ProviderError(f"{text}: {detail}" if detail else text, provider=name)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an exception of any HTTP library carries."""
    response = getattr(error, "response", None)
    inner = getattr(response, "status_code", None)
    if isinstance(response, Mapping):  # of AWS
        inner = (response.get("ResponseMetadata") or {}).get("HTTPStatusCode")
    for value in (getattr(error, "status_code", None), inner, getattr(error, "status", None), _code(error)):
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _code(error: BaseException) -> object:
    """Google's libraries say `code`, which elsewhere may be anything, an exit code for one."""
    return getattr(error, "code", None) if type(error).__module__.partition(".")[0] == "google" else None


def _not_reached(error: BaseException) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, (ConnectionError, TimeoutError)) or not names.isdisjoint(_NOT_REACHED)
