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

_BREAKS = "\t\r\n"
# Neither people nor URL parsers see these.
_INVISIBLE = dict.fromkeys(
    {*range(0x20), 0x7F, 0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF} - {ord(each) for each in _BREAKS}
)
_WRAPPING = " \u00a0\u3000\"'`<>()" + _BREAKS
_WEB = r"(?:https?|wss?|ftp)"
_URL = re.compile(
    r"(?P<lead>"
    rf"\b{_WEB}:[/\\]+\s*"  # browsers take any number of slashes, either way round
    r"|\b[a-z][a-z0-9+.-]{0,30}:[/\\]{2}"
    r"|(?<![\w:/\\.-])[/\\]{2,}(?=\S)"  # scheme-relative
    rf")(?P<authority>(?:(?!{_WEB}:[/\\])[^\s\"'<>/?#])*)",  # up to the next address of a list
    re.IGNORECASE,
)
# Browsers drop tabs and line breaks inside a URL; one before the next address of a list is a separator.
_DROPPED = re.compile(rf"(?<![{_BREAKS}])[{_BREAKS}]++(?!\s*+{_WEB}:[/\\])", re.IGNORECASE)
_BARE_WEB = re.compile(rf"{_WEB}:(?P<authority>[^\s/\\?#][^\s/?#]*)", re.IGNORECASE)
_NUMERIC = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\Z", re.IGNORECASE)
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))

_LONGEST = 253
"""Characters of a host name, by RFC 1035."""

UNREADABLE = ""
"""Host of a URL that cannot be told for sure: no allow list lets it pass."""


@dataclass(frozen=True, slots=True)
class NamedHosts:
    """Hosts named in one text."""

    addressed: tuple[str, ...] = ()
    """Where the text leads if it is an address (or several), not prose: a client given this text goes there."""
    mentioned: tuple[str, ...] = ()
    """All of them: also in prose, and inside other addresses, where a redirect or a proxy would find them."""


def hosts_in(text: str) -> NamedHosts:
    """Every host that a URL anywhere in the text leads to, read in each way in which common clients read it.

    Schemes, letter case, ports, user names, trailing dots, backslashes, invisible characters, percent signs, full-width
    letters and the many spellings of an IP address do not hide a host. `UNREADABLE` stands for one that stays unclear.
    """
    visible = text.translate(_INVISIBLE).strip(_WRAPPING)
    cleaned = _DROPPED.sub("", visible)
    addressed: dict[str, None] = {}
    mentioned: dict[str, None] = {}
    if bare := _BARE_WEB.match(cleaned):
        addressed.update(dict.fromkeys(_readings(bare["authority"])))
    one_word = not any(map(str.isspace, cleaned))
    for start, authority in _urls(cleaned):
        readings = dict.fromkeys(_readings(authority))
        begins = start == 0 or (one_word and not mentioned)
        if begins or (addressed and (cleaned[start - 1].isspace() or cleaned[start - 1] in ",;|")):
            addressed.update(readings)
        mentioned.update(readings)
    for other in {visible, unquote(cleaned)} - {cleaned}:
        for _, authority in _urls(other):
            mentioned.update(dict.fromkeys(_readings(authority)))
    return NamedHosts(tuple(addressed), tuple(addressed | mentioned))


def _urls(text: str) -> Iterable[tuple[int, str]]:
    for match in _URL.finditer(text):
        lead, authority = match["lead"], match["authority"]
        if lead[0] in "/\\" and (not authority or (match.start() > 0 and "." not in authority)):
            continue  # a path with a doubled slash, or a comment
        yield match.start(), authority


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
    return _readings(re.sub(r"^[a-z][a-z0-9+.-]*://", "", text, flags=re.IGNORECASE))[0]


def _readings(authority: str) -> list[str]:
    """Hosts of what stands between the slashes, as different clients see them.

    Browsers end a host at a backslash, where others see a user name if an @ follows; and prose ends it at a comma.
    """
    browser = re.split(r"[/\\?#]", authority, maxsplit=1)[0]
    other = re.split(r"[/?#]", authority, maxsplit=1)[0]
    listed = re.split(r"[,;|()]", browser, maxsplit=1)[0]
    candidates = [browser, *([other] if "@" in other else []), *([listed] if listed else [])]
    return list(dict.fromkeys(_host(each) for each in candidates))


def _host(authority: str) -> str:
    name = authority.rpartition("@")[2]
    if name.startswith("["):
        inner, closed, _ = name[1:].partition("]")
        return _ip6(inner) if closed else UNREADABLE
    name = unquote(name.partition(":")[0])
    name = unicodedata.normalize("NFKC", name.translate(_DOTS)).translate(_INVISIBLE).lower()
    if len(name) > _LONGEST or re.search(r"[/\\?#@:\s\u00df\u03c2]", name):
        return UNREADABLE  # a look-alike of a delimiter, or a letter on whose spelling the standards (IDNA) disagree
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
