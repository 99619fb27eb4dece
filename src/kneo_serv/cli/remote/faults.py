"""Answers that refuse, and answers that never came, as errors of the command line."""

import ssl
from typing import Any

import httpx2

from kneo_serv.cli.destination import KEY_VARIABLE, Destination
from kneo_serv.cli.refusal import ServiceFault, ServiceRefusal, ServiceUnreachable

IN_PROGRESS = "idempotency_key_in_progress"

_MOST_SHOWN = 120
_MOST_FAULTS = 5


def refusal_in(response: httpx2.Response, destination: Destination) -> ServiceFault:
    """The error that an answer which is no success stands for."""
    detail = _detail(response)
    if isinstance(detail, dict) and isinstance(detail.get("error"), str) and isinstance(detail.get("message"), str):
        return _told(response, detail, destination)
    if response.status_code == 422 and isinstance(detail, list):
        faults = [_fault(one) for one in detail]
        more = f" (and {len(faults) - _MOST_FAULTS} more)" if len(faults) > _MOST_FAULTS else ""
        return ServiceRefusal(
            "invalid_request",
            f"The service does not take this: {'; '.join(faults[:_MOST_FAULTS])}{more}.",
            facts={"errors": detail},
        )
    return stranger(response, destination)


def stranger(response: httpx2.Response, destination: Destination) -> ServiceUnreachable:
    """The error for an answer that no Kneo service gives."""
    kind = response.headers.get("content-type", "without a content type").partition(";")[0]
    status = f"{response.status_code} {response.reason_phrase}".strip()
    facts = {"url": destination.url, "source": destination.source, "status": response.status_code}
    if response.has_redirect_location:
        target = response.headers["location"]
        return ServiceUnreachable(
            "not_a_service",
            f"{destination.url} ({destination.source}) sends elsewhere: {status} to {_cut(target)}.",
            hint="Name the address of the service itself; a key is not taken along to another one.",
            facts=facts,
        )
    if response.status_code in (502, 503, 504):
        return ServiceUnreachable(
            "service_unreachable",
            f"Something before the service at {destination.url} ({destination.source}) answered: {status} ({kind}).",
            hint="The service behind it may be down; its /livez tells.",
            facts=facts,
        )
    return ServiceUnreachable(
        "not_a_service",
        f"What answers at {destination.url} ({destination.source}) is no Kneo service: {status} ({kind}).",
        hint="Look at the address and the path in it: the one of a service has a /livez that answers.",
        facts=facts,
    )


def unreachable(error: httpx2.RequestError, destination: Destination, seconds: float) -> ServiceUnreachable:
    """The error for a request that got no answer."""
    where = f"{destination.url} ({destination.source})"
    facts = {"url": destination.url, "source": destination.source}
    if trouble := _tls(error):
        return ServiceUnreachable(
            "service_unreachable",
            f"There is no safe connection to {where}: {trouble}.",
            hint="A certificate of your own authority is named by SSL_CERT_FILE; a service without TLS has http://.",
            facts=facts,
        )
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, httpx2.ConnectTimeout):
        return ServiceUnreachable(
            "service_unreachable",
            f"{where} did not answer within {seconds:g} seconds.",
            hint="KNEO_SERV_CLIENT_TIMEOUT says how long is waited. What was begun goes on: see `kneo runs list`.",
            facts=facts,
        )
    return ServiceUnreachable(
        "service_unreachable",
        f"No service answers at {where}: {_cut(str(error)) or type(error).__name__}.",
        hint="Start it with `kneo service serve`, name another one by --service-url, or use this folder by --local.",
        facts=facts,
    )


def is_lasting(error: httpx2.RequestError) -> bool:
    """Whether another attempt would end the same way."""
    return _tls(error) is not None or not isinstance(error, httpx2.TransportError)


def _detail(response: httpx2.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        return None
    return body.get("detail") if isinstance(body, dict) else None


def _told(response: httpx2.Response, detail: dict[str, Any], destination: Destination) -> ServiceRefusal:
    code = detail["error"]
    facts = {name: value for name, value in detail.items() if name not in ("error", "message")}
    hint = _hint(code, facts, destination)
    if code in ("unauthorized", "forbidden"):
        facts |= {"url": destination.url, "source": destination.source, "key_source": destination.key_source}
    if code == "internal_error" and (request_id := response.headers.get("x-request-id")):
        facts["request_id"] = request_id
        hint = f"The request id is {request_id}."
    return ServiceRefusal(code, detail["message"], hint=hint, facts=facts)


def _hint(code: str, facts: dict[str, Any], destination: Destination) -> str | None:
    sent = "No key was sent" if destination.key_source is None else f"The key came from {destination.key_source}"
    match code:
        case "unauthorized" if destination.key_source is None:
            return f"{sent} to {destination.url}. Set {KEY_VARIABLE}, or keep a key: `kneo config profile set --help`."
        case "unauthorized":
            return f"{sent}; {destination.url} does not take it."
        case "forbidden":
            return f"{sent}. A key whose role has {facts.get('required_scope', 'the scope')} is needed."
        case "not_found" if "kind" in facts:
            return f"`kneo runs list` and `kneo human list` show what there is at {destination.url}."
        case "not_found" | "method_not_allowed":
            return f"The service at {destination.url} may be older than this command."
        case "rate_limited" | "queue_full":
            return "Try again in a moment."
        case _:
            return None


def _fault(one: Any) -> str:
    if not isinstance(one, dict):
        return _cut(str(one))
    place = ".".join(str(part) for part in one.get("loc") or ())
    return f"{place}: {_cut(str(one.get('msg', '')))}" if place else _cut(str(one.get("msg", "")))


def _tls(error: BaseException) -> str | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted, {seen.verify_message}"
        if isinstance(seen, ssl.SSLError):
            return f"TLS failed ({(seen.reason or str(seen)).replace('_', ' ').lower()})"
        seen = seen.__cause__ or seen.__context__
    return None


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 1]}…"
