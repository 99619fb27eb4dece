"""Addresses of services, as people write them."""

import ipaddress
from urllib.parse import urlsplit

from kneo_serv.errors import InvalidRequestError


def checked_address(text: str, *, source: str) -> str:
    """The address without a slash at its end.

    Raises:
        InvalidRequestError: it is no address of a service; names `source`, where it was written.
    """
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        has_port = parts.port is None or parts.port > 0
    except ValueError as error:
        raise InvalidRequestError(f"The address of the service ({source}) cannot be read: {error}.") from None
    # A password must not be quoted, so this is looked at first.
    if parts.username is not None or parts.password is not None:
        raise InvalidRequestError(
            f"The address of the service ({source}) holds a user or password. A key is given by a profile or by "
            "KNEO_SERV_API_KEY."
        )
    problem = None
    if parts.scheme not in ("http", "https"):
        problem = "it does not begin with http:// or https://"
    elif not parts.hostname or not has_port or any(sign.isspace() or not sign.isprintable() for sign in address):
        problem = "it names no host that could be called"
    elif parts.query or parts.fragment:
        problem = "it has a query or fragment"
    if problem is not None:
        raise InvalidRequestError(f"{text!r} ({source}) is no address of a service: {problem}.")
    return address


def tells_everybody(address: str) -> bool:
    """Whether what is sent there can be read on the way: without TLS, to another machine than this one."""
    parts = urlsplit(address)
    return parts.scheme == "http" and not _is_this_machine(parts.hostname or "")


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
