"""The hosts that a text names by URL, and the rules about them."""

import ipaddress
import re
import socket
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

# What URL parsers drop anywhere in a URL (tab, line feed, carriage return) or people cannot see.
_INVISIBLE = dict.fromkeys([*range(0x20), 0x7F, 0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF])
_WRAPPING = " \u00a0\u3000\"'`<>()"
_WEB = r"(?:https?|wss?|ftp)"
# Web addresses are read the way browsers read them: any number of slashes, either way round.
_URL = re.compile(
    rf"(?P<scheme>\b{_WEB}:[/\\]+\s*|\b[a-z][a-z0-9+.-]*:[/\\]{{2}}[/\\]*|(?<![\w:/\\.-])[/\\]{{2,}}(?=\S))(?P<rest>[^\s\"'<>]*)",
    re.IGNORECASE,
)
_BARE_WEB = re.compile(rf"{_WEB}:(?P<rest>[^\s/\\]\S*)", re.IGNORECASE)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\Z", re.IGNORECASE)
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))

UNREADABLE = ""
"""Host of a URL that cannot be told for sure: no allow list lets it pass."""


@dataclass(frozen=True, slots=True)
class NamedHosts:
    """Hosts named in one text. `is_url`: the text begins with a URL, so it is an address and not prose."""

    hosts: tuple[str, ...]
    is_url: bool


def hosts_in(text: str) -> NamedHosts:
    """Every host that a URL anywhere in the text leads to, read in each way in which common parsers read it.

    Schemes, letter case, ports, user names, trailing dots, backslashes, invisible characters, percent signs, full-width
    letters and the many spellings of an IP address do not hide a host. `UNREADABLE` stands for one that stays unclear.
    """
    cleaned = text.translate(_INVISIBLE).strip(_WRAPPING)
    found: dict[str, None] = {}
    is_url = False
    if bare := _BARE_WEB.match(cleaned):
        is_url = True
        found.update(dict.fromkeys(_readings(bare["rest"])))
    for match in _URL.finditer(cleaned):
        relative = match["scheme"][0] in "/\\"
        if relative and not match["rest"].strip("/\\"):
            continue
        if relative and match.start() > 0 and "." not in match["rest"]:
            continue  # a path with a doubled slash, or a comment
        is_url = is_url or match.start() == 0
        found.update(dict.fromkeys(_readings(match["rest"])))
    return NamedHosts(tuple(found), is_url)


def texts_in(value: Any, path: tuple[str | int, ...] = ()) -> Iterable[tuple[tuple[str | int, ...], str]]:
    """Every text in a JSON value with its place, keys included."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield path, str(key)
            yield from texts_in(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from texts_in(item, (*path, index))


def matches(host: str, rules: Iterable[str]) -> str | None:
    """The first rule that covers the host: the same name, or one of its parents. `*` covers every readable host."""
    for rule in rules:
        name = rule_host(rule)
        if host == UNREADABLE or name == UNREADABLE:
            continue
        if name == "*" or host == name or (host.endswith(f".{name}") and not _NUMERIC.match(name)):
            return rule
    return None


@lru_cache(maxsize=1024)
def rule_host(rule: str) -> str:
    """Canonical host of a rule such as `example.com`, `*.example.com` or `https://example.com:8443/`."""
    text = rule.strip().removeprefix("*.").lstrip(".") if rule.strip() != "*" else "*"
    if text == "*":
        return "*"
    if not text.startswith("[") and text.count(":") > 1 and "//" not in text:
        text = f"[{text}]"  # an IPv6 address without its brackets
    readings = _readings(re.sub(r"^[a-z][a-z0-9+.-]*://", "", text, flags=re.IGNORECASE))
    return readings[0] if readings else UNREADABLE


def _readings(rest: str) -> list[str]:
    """Hosts of what follows the slashes. Browsers end a host at a backslash, other parsers take it for a user name."""
    rest = rest.lstrip("/\\")
    browser = re.split(r"[/\\?#]", rest, maxsplit=1)[0]
    other = re.split(r"[/?#]", rest, maxsplit=1)[0]
    return list(dict.fromkeys(_host(authority) for authority in (browser, other)))


def _host(authority: str) -> str:
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        inner, closed, _ = name[1:].partition("]")
        return _ip6(inner) if closed else UNREADABLE
    name = unquote(name.partition(":")[0])
    name = unicodedata.normalize("NFKC", name.translate(_DOTS)).translate(_INVISIBLE).casefold()
    if re.search(r"[/\\?#@:\s]", name):
        return UNREADABLE  # a letter that only looks like one hides a delimiter
    name = name.rstrip(".,;!)}]'\"")
    if _NUMERIC.match(name):
        try:
            return str(ipaddress.IPv4Address(socket.inet_aton(name)))  # knows 127.1, 0x7f.1 and 2130706433
        except OSError:
            return UNREADABLE
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name if name.isascii() else UNREADABLE


def _ip6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text.partition("%")[0])
    except ValueError:
        return UNREADABLE
    return str(address.ipv4_mapped or address)
