"""Keys in a file that changes while the service runs."""

import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from kneo_serv.service.auth import Authenticator, AuthPrincipal, Refusal
from kneo_serv.service.auth.config import AuthConfig
from kneo_serv.service.auth.keys import write_digest

SECRET = "s3cret-of-alice"


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def write(path: Path, text: str) -> None:
    """A new version of the file, as careful people write it."""
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.chmod(0o600)
    draft.replace(path)


def opened(path: Path, clock: Hands, wall: Hands | None = None) -> Authenticator:
    return Authenticator(AuthConfig(enabled=True, key_file=path), clock=clock, wall=wall or clock)


def who(door: Authenticator, key: str) -> str | None:
    caller = asyncio.run(door.authenticate(key))
    return caller.name if isinstance(caller, AuthPrincipal) else None


def test_a_new_version_is_taken_up_after_a_second_without_a_restart(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", Hands()
    write(path, "alice:old:viewer\n")
    door = opened(path, clock)
    write(path, "# changed\nalice:new:viewer\n")
    assert who(door, "old") == "alice", "it is looked at once a second at most"
    clock.now += 1.0
    assert who(door, "old") is None
    assert who(door, "new") == "alice"


def test_a_file_that_is_written_in_place_is_seen_too(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys", Hands()
    write(path, "alice:old:viewer\n")
    door = opened(path, clock)
    path.write_text("alice:older:viewer\n")
    clock.now += 1.0
    assert who(door, "older") == "alice"


@pytest.mark.parametrize("broken", ["", f"alice:{SECRET}:viewr", SECRET, "{", "\udcff", f'[{{"name": "{SECRET}"}}]'])
def test_a_broken_version_leaves_the_old_keys_and_is_told_once_without_its_content(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "keys", Hands()
    write(path, "alice:old:viewer\n")
    door = opened(path, clock)
    path.write_bytes(broken.encode("utf-8", "surrogateescape"))
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1.0
            assert who(door, "old") == "alice"
    assert len(caplog.records) == 1
    assert "the keys of before stay in force" in caplog.text
    assert SECRET not in caplog.text
    write(path, "alice:new:viewer\n")
    clock.now += 1.0
    assert who(door, "new") == "alice"


def test_a_file_that_is_gone_leaves_the_old_keys_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock = tmp_path / "keys", Hands()
    write(path, "alice:old:viewer\n")
    door = opened(path, clock)
    path.unlink()
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now += 1.0
            assert who(door, "old") == "alice"
    assert len(caplog.records) == 1
    write(path, "alice:new:viewer\n")
    clock.now += 1.0
    assert who(door, "new") == "alice"


def test_json_says_the_same_and_digests_keep_the_keys_out_of_the_file(tmp_path: Path) -> None:
    path, clock = tmp_path / "keys.json", Hands()
    entries = [
        {
            "name": "alice",
            "sha256": write_digest(SECRET).removeprefix("sha256:"),
            "roles": ["viewer"],
            "tenant": "acme",
        },
        {"name": "bob", "key": write_digest("other"), "grants": ["operator"], "expires": "2099-01-01"},
        {"name": "carol", "key": "third", "scopes": ["runs:read"]},
        "dave:fourth:viewer",
    ]
    write(path, json.dumps({"keys": entries}))
    door = opened(path, clock)
    assert [who(door, key) for key in (SECRET, "other", "third", "fourth")] == ["alice", "bob", "carol", "dave"]
    alice = asyncio.run(door.authenticate(SECRET))
    assert isinstance(alice, AuthPrincipal)
    assert alice.tenant == "acme"
    assert alice.roles == {"viewer"}
    assert SECRET not in path.read_text()


def test_a_key_that_ends_while_the_service_runs_is_refused_from_then_on(tmp_path: Path) -> None:
    path, clock, wall = tmp_path / "keys", Hands(), Hands()
    write(path, "alice:old:viewer,expires=1970-01-01T00:20:00Z\n")
    door = opened(path, clock, wall)
    wall.now = 1199.0
    assert who(door, "old") == "alice"
    wall.now = 1200.0
    assert asyncio.run(door.authenticate("old")) == Refusal("expired", "the key is expired", "alice")


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o640, False), (0o604, True), (0o646, True)])
def test_a_file_that_everybody_may_read_is_told(
    tmp_path: Path, mode: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys"
    path.write_text("alice:old:viewer\n")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        opened(path, Hands())
    assert ("open to every user" in caplog.text) is told


def test_a_change_of_who_may_read_it_is_seen(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, clock = tmp_path / "keys", Hands()
    write(path, "alice:old:viewer\n")
    door = opened(path, clock)
    path.chmod(0o604)
    clock.now += 1.0
    with caplog.at_level(logging.WARNING):
        assert who(door, "old") == "alice"
    assert "open to every user" in caplog.text


def test_a_pipe_does_not_hold_the_service(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    os.mkfifo(path)
    with pytest.raises(ValueError, match="no regular file"):
        opened(path, Hands())
