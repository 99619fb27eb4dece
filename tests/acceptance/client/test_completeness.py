"""These tests leave out nothing that the public client offers."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import kneo_client.core
from kneo_client import KneoClient
from kneo_client.agent import AgentClient
from kneo_client.core import KneoError, Profile, SyncTransport, Transport
from kneo_client.platform import PlatformClient

TESTS = sorted(Path(__file__).parent.glob("test_*.py"))
PARSED = [ast.parse(path.read_text(encoding="utf-8")) for path in TESTS if path.name != Path(__file__).name]

NOT_CAUSED = {"KneoProtocolError"}
"""What only a server raises that breaks the contract: ours answers with JSON always."""


def public(kind: type) -> list[str]:
    """The methods that a class offers."""
    found = inspect.getmembers(kind, lambda member: inspect.isroutine(member) or isinstance(member, property))
    return [name for name, _ in found if not name.startswith("_")]


def offered() -> Iterator[str]:
    """Every method of every part of the client, as it is called."""
    bare = Transport(Profile("none", "http://127.0.0.1:9", "key"))
    for name, face in (("platform", PlatformClient(bare)), ("agent", AgentClient(bare))):
        for part, client in vars(face).items():
            if not part.startswith("_"):
                yield from (f"{name}.{part}.{method}" for method in public(type(client)))


def chains() -> set[str]:
    """Every chain of attributes in the tests, and its ends: `client.platform.runs.get` is also `runs.get`."""
    found: set[str] = set()
    for tree in PARSED:
        for node in ast.walk(tree):
            names: list[str] = []
            here: ast.expr | None = node if isinstance(node, ast.Attribute) else None
            while isinstance(here, ast.Attribute):
                names.insert(0, here.attr)
                here = here.value
            if isinstance(here, ast.Name):
                names.insert(0, here.id)
            found |= {".".join(names[first:]) for first in range(len(names))}
    return found


def names() -> set[str]:
    """Every name that the tests import from the client, or read from one of its modules."""
    imported = {
        alias.name
        for tree in PARSED
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kneo_client")
        for alias in node.names
    }
    return imported | chains()


def test_every_method_of_the_client_is_called() -> None:
    called = chains()
    wanted = set(offered())
    assert len(wanted) >= 34
    short = {one.partition(".")[2] for one in wanted}
    assert {one for one in short if one not in called} == set()


def test_both_clients_are_used_by_all_that_they_offer() -> None:
    called = chains()
    for kind, word in ((KneoClient, "client"), (SyncTransport, "transport")):
        for method in public(kind):
            assert any(re.fullmatch(rf"\w*{word}\.{method}|KneoClient\.{method}", chain, re.I) for chain in called), (
                kind,
                method,
            )


def test_every_exception_that_the_server_can_cause_is_caused() -> None:
    offered = {
        name
        for name in kneo_client.core.__all__
        if isinstance(kind := getattr(kneo_client.core, name), type) and issubclass(kind, KneoError)
    }
    assert len(offered) == 15
    assert offered - names() == NOT_CAUSED
