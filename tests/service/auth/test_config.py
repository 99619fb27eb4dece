"""What the environment says about who is let in."""

import logging
from pathlib import Path

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.service.auth import AuthConfig

SECRET = "s3cret-of-alice"


def test_without_any_variable_nobody_is_asked_for_a_key() -> None:
    config = AuthConfig.from_env({})
    assert not config.enabled
    caller = config.authenticate("whatever")
    assert caller is not None
    assert caller.name == "anonymous"
    assert caller.has_scope("policies:write")


@pytest.mark.parametrize("word", ["", "false", "0"])
def test_a_key_is_asked_for_as_soon_as_there_is_one(word: str) -> None:
    given = {"KNEO_SERV_API_KEYS": f"alice:{SECRET}:viewer", "KNEO_SERV_AUTH_ENABLED": word}
    config = AuthConfig.from_env(given)
    assert config.enabled
    assert config.authenticate(None) is None
    assert config.authenticate("other") is None
    caller = config.authenticate(SECRET)
    assert caller is not None
    assert caller.name == "alice"


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_asking_for_keys_without_having_one_refuses_to_start(word: str) -> None:
    with pytest.raises(SettingsError, match="KNEO service auth is enabled but no API keys are configured"):
        AuthConfig.from_env({"KNEO_SERV_AUTH_ENABLED": word})
    with pytest.raises(SettingsError, match="no API keys"):
        AuthConfig.from_env({}, enabled=True)


def test_a_typing_error_never_opens_the_door() -> None:
    with pytest.raises(SettingsError, match="'ture' must be one of 1, true"):
        AuthConfig.from_env({"KNEO_SERV_AUTH_ENABLED": "ture"})


def test_two_records_of_one_name_are_both_accepted_so_that_a_key_can_be_changed() -> None:
    config = AuthConfig.from_env({"KNEO_SERV_API_KEYS": " alice:old:viewer ;; alice:new:operator; "})
    old, new = config.authenticate("old"), config.authenticate("new")
    assert old is not None
    assert new is not None
    assert old.name == new.name == "alice"
    assert old.roles == {"viewer"}
    assert new.roles == {"operator"}


def test_the_admin_key_may_do_everything() -> None:
    admin = AuthConfig.from_env({"KNEO_SERV_ADMIN_API_KEY": " root "}).authenticate("root")
    assert admin is not None
    assert admin.name == "admin"
    assert admin.roles == {"admin"}
    assert admin.has_scope("policies:write")


def test_an_entry_with_the_admin_key_counts_instead_of_it_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = AuthConfig.from_env({"KNEO_SERV_ADMIN_API_KEY": SECRET, "KNEO_SERV_API_KEYS": f"bob:{SECRET}:viewer"})
    caller = config.authenticate(SECRET)
    assert caller is not None
    assert caller.roles == {"viewer"}
    assert "KNEO_SERV_ADMIN_API_KEY" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.parametrize("bad", [f"bob:{SECRET}", f"bob:{SECRET}:root", f"bob:{SECRET}:a:b"])
def test_a_bad_entry_is_told_by_variable_and_place_and_never_by_its_key(bad: str) -> None:
    with pytest.raises(SettingsError, match="KNEO_SERV_API_KEYS: entry 2 ") as refused:
        AuthConfig.from_env({"KNEO_SERV_API_KEYS": f"alice:{SECRET}:viewer;{bad}"})
    assert SECRET not in str(refused.value)


def test_an_expired_key_is_nobody() -> None:
    assert AuthConfig.from_env({"KNEO_SERV_API_KEYS": "a:k:viewer,expires=2020-01-01"}).authenticate("k") is None


def test_a_file_of_keys_that_cannot_be_used_refuses_to_start(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    given = {"KNEO_SERV_API_KEYS_FILE": str(path)}
    with pytest.raises(SettingsError, match=r"KNEO_SERV_API_KEYS_FILE: .* cannot be read: No such file"):
        AuthConfig.from_env(given)
    path.write_text(f"# ours\n\nalice:{SECRET}:viewr\n")
    with pytest.raises(SettingsError, match=r"line 3: \(name 'alice'\): grant 1, 'viewr'"):
        AuthConfig.from_env(given)
    path.write_text(f"alice:{SECRET}:viewer\n")
    path.chmod(0o600)
    config = AuthConfig.from_env(given)
    assert config.enabled
    assert config.key_file == path


def test_keys_given_in_code_are_asked_for() -> None:
    config = AuthConfig.from_plaintext_keys([("alice", SECRET, ["viewer"])])
    assert config.enabled
    assert config.authenticate(SECRET) is not None
    assert SECRET not in repr(config)
