"""Requests to a service: sent again where that is safe, and answered with JSON or an error that says what to do."""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import httpx2

from kneo_serv import __version__
from kneo_serv.cli.destination import Destination
from kneo_serv.cli.refusal import ServiceFault, ServiceRefusal
from kneo_serv.cli.remote.faults import IN_PROGRESS, is_lasting, refusal_in, stranger, unreachable
from kneo_serv.cli.remote.retries import LONGEST_PAUSE, PASSING, Retries, asked_pause
from kneo_serv.errors import InvalidRequestError
from kneo_serv.settings import Settings

KEY_VARIABLE = "KNEO_SERV_IDEMPOTENCY_KEY"
_KEY_HEADER = "Idempotency-Key"
_BUSY_PAUSE = 1.0
"""Seconds until a service that is at work on a request is asked again for its answer, unless it says otherwise."""
_OF_A_RUN = ("run_id", "status")
"""What every answer to a write holds."""
_LONGEST_KEY = 256
_CONNECTING = 10.0
"""Seconds that a connection may take to come about."""
_SILENCE = 60.0
"""Seconds without a sign of life after which a stream is taken for broken; services give one every 15."""

type Answer = dict[str, Any]


class ServiceClient:
    """A service as a caller sees it. `seconds` is how long an answer is waited for, in each attempt."""

    def __init__(
        self,
        destination: Destination,
        *,
        seconds: float,
        retries: Retries,
        key: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`key` is the idempotency key of every write; without it each has one of its own."""
        self.destination = destination
        self.seconds = seconds
        self._retries = retries
        self._key = key
        self._sleep = sleep
        self._now = now
        headers = {"User-Agent": f"kneo-serv/{__version__}", "Accept": "application/json"}
        if destination.api_key is not None:
            headers["Authorization"] = f"Bearer {destination.api_key}"
        try:
            self._http = httpx2.Client(
                # Both `http://host` and `http://host/v1` are names of a service.
                base_url=f"{destination.url.removesuffix('/v1')}/v1",
                headers=headers,
                timeout=httpx2.Timeout(seconds, connect=min(seconds, _CONNECTING)),
            )
        except (httpx2.InvalidURL, ValueError, ImportError) as error:
            # The address, or that of a proxy which the environment names.
            raise InvalidRequestError(f"{destination.url} ({destination.source}) cannot be called: {error}") from error

    def close(self) -> None:
        """Lets the connections go."""
        self._http.close()

    def new_key(self) -> str:
        """The idempotency key of one intended write."""
        return self._key or f"kneo-{uuid.uuid4()}"

    def read(self, path: str, *holds: str, **query: Any) -> Answer:
        """What stands at a path, which has the keys `holds`. Raises ServiceFault."""
        return self._asked("GET", path, holds, query=query)

    def look(self, path: str, *holds: str, body: Mapping[str, Any]) -> Answer:
        """What the service says about a body; nothing is changed by it. Raises ServiceFault."""
        return self._asked("POST", path, holds, body=body)

    def put(self, path: str, *holds: str, body: Any) -> Answer:
        """The answer to a request that sets what stands at a path; sent twice it does the same. Raises ServiceFault."""
        return self._asked("PUT", path, holds, body=body)

    def change(self, path: str, *holds: str, body: Mapping[str, Any] | None = None) -> Answer:
        """What stands at a path after a change that may be made again without harm. Raises ServiceFault."""
        return self._asked("POST", path, holds, body=body)

    def remove(self, path: str) -> None:
        """Removes what stands at a path. Raises ServiceFault."""
        self._asked("DELETE", path, ("deleted",))

    def lines(self, path: str) -> Iterator[str]:
        """The lines at a path, one after the other as they come. Raises ServiceFault."""
        try:
            with self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                    raise refusal_in(response, self.destination)
                yield from response.iter_lines()
        except httpx2.RequestError as error:
            raise unreachable(error, self.destination, self.seconds) from error

    def write(
        self,
        path: str,
        key: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer:
        """The answer to a request that changes something: once, however often it is sent with this key.

        While the service is at work on the same request, which an attempt before may have been, this asks again.

        Raises:
            ServiceFault: it was refused, or nobody answered.
        """
        keyed = {**(headers or {}), _KEY_HEADER: key}
        return self._asked("POST", path, _OF_A_RUN, body=body, query=query, headers=keyed, patient=True)

    def attached(
        self,
        path: str,
        key: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **query: Any,
    ) -> Answer | None:
        """As `write`; None while the service is at work on it."""
        try:
            keyed = {**(headers or {}), _KEY_HEADER: key}
            return self._asked("POST", path, _OF_A_RUN, body=body, query=query, headers=keyed)
        except ServiceRefusal as refusal:
            if refusal.wire_code == IN_PROGRESS:
                return None
            raise

    @contextmanager
    def stream(self, path: str, *, last_id: str | None, **query: Any) -> Iterator[httpx2.Response]:
        """What the service answers with server-sent events, behind the one that was heard last; sent once.

        Raises:
            httpx2.HTTPError: there is no answer, or none any more.
        """
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_id is not None:
            headers["Last-Event-ID"] = last_id
        timeout = httpx2.Timeout(min(self.seconds, _CONNECTING), read=_SILENCE)
        with self._http.stream("GET", path, params=query, headers=headers, timeout=timeout) as response:
            yield response

    def _asked(
        self,
        method: str,
        path: str,
        holds: Sequence[str],
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
    ) -> Answer:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        failures = 0
        while True:
            pause: float | None
            fault: ServiceFault
            try:
                response = self._http.request(method, path, json=body, params=given, headers=headers)
            except httpx2.RequestError as error:
                fault, asked, again = unreachable(error, self.destination, self.seconds), None, not is_lasting(error)
            else:
                if response.is_success:
                    return self._content(response, holds)
                fault = refusal_in(response, self.destination)
                asked = asked_pause(response.headers, self._now())
                again = response.status_code in PASSING
                if patient and fault.wire_code == IN_PROGRESS:
                    self._sleep(min(_BUSY_PAUSE if asked is None else asked, LONGEST_PAUSE))
                    continue
            failures += 1
            pause = self._retries.pause(failures, asked) if again else None
            if pause is None:
                raise _with_pause(fault, asked)
            self._sleep(pause)

    def _content(self, response: httpx2.Response, holds: Sequence[str]) -> Answer:
        try:
            content = response.json()
        except ValueError:
            content = None
        if not isinstance(content, dict) or not all(name in content for name in holds):
            raise stranger(response, self.destination)
        return content


@contextmanager
def connected(destination: Destination, environ: Mapping[str, str]) -> Iterator[ServiceClient]:
    """A client as the variables say it, closed at the end.

    Raises:
        SettingsError: a variable has a value that cannot be used.
        InvalidRequestError: the idempotency key cannot be sent.
    """
    settings = Settings.from_env(environ)
    client = ServiceClient(
        destination,
        seconds=settings.client_timeout,
        retries=Retries(settings.client_retries, settings.client_retry_backoff_seconds, random.random),
        key=_given_key(environ),
    )
    try:
        yield client
    finally:
        client.close()


def _given_key(environ: Mapping[str, str]) -> str | None:
    key = environ.get(KEY_VARIABLE, "").strip()
    if len(key) > _LONGEST_KEY or not all("!" <= sign <= "~" for sign in key):
        raise InvalidRequestError(f"{KEY_VARIABLE} must be at most {_LONGEST_KEY} visible ASCII letters and signs.")
    return key or None


def _with_pause(fault: ServiceFault, asked: float | None) -> ServiceFault:
    if asked is None or asked <= LONGEST_PAUSE:
        return fault
    hint = f"The service asks to wait {asked:.0f} seconds."
    return type(fault)(fault.wire_code, fault.message, hint=hint, facts={**fault.facts(), "retry_after": asked})
