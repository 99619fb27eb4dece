import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from kneo_serv.cli.profiles import Profile, ProfileFile, ProfileFileError
from tests.cli.screen import terminal
from tests.cli.shell import Shell

SECRET = "operator-token"


def saved(kneo: Shell) -> dict[str, Any]:
    content = json.loads(path_of(kneo).read_text())
    assert isinstance(content, dict)
    return content


def path_of(kneo: Shell) -> Path:
    return kneo.folder / "profiles" / "profiles.json"


def set_up(kneo: Shell, name: str = "local", *more: str) -> None:
    url = "http://127.0.0.1:8000"
    assert kneo("config", "profile", "set", name, "--service-url", url, "--api-key", SECRET, *more).exit_code == 0


def test_a_profile_is_kept_for_its_owner_alone_and_its_key_is_never_shown(kneo: Shell) -> None:
    told = kneo("config", "profile", "set", "local", "--service-url", "http://127.0.0.1:8000/", "--api-key", SECRET)
    assert told.exit_code == 0
    assert told.stderr == "✓ Saved service profile: local\n"
    assert saved(kneo) == {
        "active": "local",
        "profiles": {"local": {"api_key": SECRET, "service_url": "http://127.0.0.1:8000"}},
    }
    assert stat.S_IMODE(path_of(kneo).stat().st_mode) == 0o600
    assert stat.S_IMODE(path_of(kneo).parent.stat().st_mode) == 0o700
    shown = {"name": "local", "service_url": "http://127.0.0.1:8000", "authenticated": True}
    for words in (["use", "local"], ["show"], ["show", "local"], ["show", "--name", "local"]):
        assert kneo("config", "profile", *words, "--json").json == shown
    listed = kneo("config", "profile", "list", "--json")
    assert listed.json == {"active": "local", "profiles": [shown], "path": str(path_of(kneo))}
    for words in (["use", "local"], ["show"], ["list"]):
        answer = kneo("config", "profile", *words)
        assert "http://127.0.0.1:8000" in answer.stdout
        assert SECRET not in answer.stdout + answer.stderr + told.stdout + listed.stdout


def test_a_new_profile_is_the_active_one_unless_that_is_not_wanted(kneo: Shell) -> None:
    set_up(kneo, "first")
    set_up(kneo, "second", "--no-activate")
    assert saved(kneo)["active"] == "first"
    assert kneo("config", "profile", "use", "second").stderr == "✓ Active service profile: second\n"
    assert saved(kneo)["active"] == "second"
    assert "*       second" in kneo("config", "profile", "list").stdout


def test_the_key_may_come_from_standard_input(kneo: Shell) -> None:
    words = ["config", "profile", "set", "local", "--service-url", "http://localhost", "--api-key-stdin"]
    assert kneo(*words, stdin=f"{SECRET}\nmore\n").exit_code == 0
    assert saved(kneo)["profiles"]["local"]["api_key"] == SECRET
    assert "at most" in kneo.usage_error([*words, "--api-key", "other"])
    assert kneo(*words, stdin="\n").exit_code == 0
    assert saved(kneo)["profiles"]["local"]["api_key"] is None


def test_at_a_terminal_a_person_is_asked_for_the_key_and_it_is_not_seen(tmp_path: Path) -> None:
    with terminal(tmp_path, "config", "profile", "set", "local", "--service-url", "http://127.0.0.1:8000") as shown:
        shown.until(lambda screen: "API key for http://127.0.0.1:8000" in screen)
        shown.type(f"{SECRET}\n")
        assert shown.end() == 0
    assert SECRET not in "".join(shown.history)
    kept = json.loads((tmp_path / ".kneo_serv" / "profiles.json").read_text())
    assert kept["profiles"]["local"]["api_key"] == SECRET


def test_without_a_key_the_profile_has_none(kneo: Shell) -> None:
    told = kneo("config", "profile", "set", "open", "--service-url", "http://localhost", "--json")
    assert told.json == {"name": "open", "service_url": "http://localhost", "authenticated": False}


@pytest.mark.parametrize("url", ["notaurl", "ftp://host", "http://me:hidden@host", "http://host?x=1"])
def test_an_address_that_cannot_be_called_is_not_kept(kneo: Shell, url: str) -> None:
    refused = kneo("config", "profile", "set", "bad", "--service-url", url, "--json")
    assert refused.exit_code == 1
    assert refused.json["error"]["code"] == "invalid_request"
    assert "hidden" not in refused.stdout
    assert not path_of(kneo).exists()


@pytest.mark.parametrize("name", ["", "-x", "a b", "../up", "x" * 65])
def test_a_name_that_is_hard_to_type_is_refused(kneo: Shell, name: str) -> None:
    assert kneo("config", "profile", "set", "--service-url", "http://h", "--", name).exit_code == 1


def test_a_key_that_goes_in_the_open_to_another_machine_is_remarked(kneo: Shell) -> None:
    words = ["config", "profile", "set", "far", "--service-url", "http://kneo.example.com"]
    assert "without TLS" in kneo(*words, "--api-key", SECRET).stderr
    assert "without TLS" not in kneo(*words).stderr
    assert "without TLS" not in kneo(*words[:-1], "https://kneo.example.com", "--api-key", SECRET).stderr


def test_a_deleted_profile_is_active_no_more(kneo: Shell) -> None:
    set_up(kneo, "first")
    set_up(kneo, "second")
    gone = kneo("config", "profile", "delete", "second", "--json")
    assert gone.json == {"name": "second", "deleted": True, "active": None}
    assert saved(kneo) == {"active": None, "profiles": {"first": saved(kneo)["profiles"]["first"]}}
    again = kneo("config", "profile", "delete", "second")
    assert (again.exit_code, again.stderr) == (0, "⚠ There was no service profile second.\n")
    assert "kneo config profile use" in kneo("config", "profile", "show").stderr


def test_an_unknown_profile_is_told_with_those_that_there_are(kneo: Shell) -> None:
    none = kneo("config", "profile", "use", "local")
    assert none.exit_code == 1
    assert "✗ Unknown profile: local" in none.stderr
    assert "kneo config profile set local" in none.stderr
    set_up(kneo, "local")
    for words in (["config", "profile", "show", "locl"], ["runs", "list", "--profile", "locl"]):
        unknown = kneo(*words)
        assert unknown.exit_code == 1
        assert "Did you mean local?" in unknown.stderr
    shown = kneo("config", "profile", "show", "locl", "--json")
    assert shown.json["error"]["code"] == "not_found"
    assert "another name" in kneo.usage_error(["config", "profile", "show", "local", "--name", "other"])


@pytest.mark.parametrize(
    "content",
    [
        b"{oops", b"[]", b"\xff\xfe", b'{"profiles": 3}', b'{"profiles": {"a": 1}}', b'{"active": "gone"}',
        b'{"profiles": {"a": {"service_url": "http://h", "api_key": 7}}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_broken_file_is_named_and_left_as_it_is(kneo: Shell, content: bytes) -> None:
    path_of(kneo).parent.mkdir()
    path_of(kneo).write_bytes(content)
    for words in (["list"], ["use", "a"], ["set", "a", "--service-url", "http://h"], ["delete", "a"]):
        broken = kneo("config", "profile", *words, "--json")
        assert broken.exit_code == 1
        assert broken.json["error"] == {
            "code": "profiles_unusable",
            "message": broken.json["error"]["message"],
            "path": str(path_of(kneo)),
        }
        assert str(path_of(kneo)) in broken.json["error"]["message"]
    assert path_of(kneo).read_bytes() == content
    assert kneo("runs", "list").exit_code == 1
    assert kneo("runs", "list", "--local").exit_code == 0
    assert kneo("--version").exit_code == 0
    assert kneo("config", "resolve").exit_code == 0


def test_a_file_that_others_can_read_is_remarked(kneo: Shell) -> None:
    set_up(kneo)
    path_of(kneo).chmod(0o644)
    for words in (["list"], ["show"]):
        assert f"⚠ {path_of(kneo)} can be read by others: chmod 600" in kneo("config", "profile", *words).stderr
    set_up(kneo)
    assert stat.S_IMODE(path_of(kneo).stat().st_mode) == 0o600


def test_a_link_stays_one(tmp_path: Path) -> None:
    real, link = tmp_path / "real" / "profiles.json", tmp_path / "link.json"
    real.parent.mkdir()
    link.symlink_to(real)
    with ProfileFile(link).changing() as draft:
        draft.put(draft.profiles.with_profile(Profile("a", "http://h"), active=True))
    assert link.is_symlink()
    assert json.loads(real.read_text())["active"] == "a"


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "profiles.json"

    def write(name: str) -> None:
        with ProfileFile(path).changing() as draft:
            draft.put(draft.profiles.with_profile(Profile(name, "http://h", "k"), active=False))

    writers = [threading.Thread(target=write, args=(f"p{number}",)) for number in range(20)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(ProfileFile(path).read().by_name) == {f"p{number}" for number in range(20)}
    assert [entry for entry in os.listdir(tmp_path) if entry.startswith(".")] == []


def test_what_goes_wrong_on_the_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = ProfileFile(tmp_path / "profiles.json")
    with file.changing() as draft:
        draft.put(draft.profiles.with_profile(Profile("a", "http://h"), active=True))

    def break_off() -> None:
        with file.changing() as draft:
            draft.put(draft.profiles.without("a"))
            raise ProfileFileError(file.path, "a reason")

    with pytest.raises(ProfileFileError):
        break_off()
    assert file.read().active == "a"
