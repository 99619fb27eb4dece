from pathlib import Path

import pytest

from kneo_serv.cli.destination import Destination, choose
from kneo_serv.cli.directions import Directions
from kneo_serv.cli.profiles import Profile, ProfileFile, ProfileFileError, ProfileUnknownError
from kneo_serv.errors import InvalidRequestError

FLAG, SET, CONFIG = "http://flag:1", "http://variable:1", "http://config:1"
VARIABLE = {"KNEO_SERV_URL": SET}
KEY = {"KNEO_SERV_API_KEY": "variable-key"}


@pytest.fixture
def profiles(tmp_path: Path) -> ProfileFile:
    """Three profiles, of which `active` is the active one and `open` has no key."""
    file = ProfileFile(tmp_path / "profiles.json")
    with file.changing() as draft:
        held = draft.profiles
        for name, key in (("open", None), ("other", "other-key"), ("active", "active-key")):
            held = held.with_profile(Profile(name, f"http://{name}:1", key), active=name == "active")
        draft.put(held)
    return file


def asked(url: str | None = None, profile: str | None = None, *, local: bool = False) -> Directions:
    return Directions(url, profile, local)


@pytest.mark.parametrize(
    ("directions", "environ", "configured", "expected"),
    [
        # what is asked for, the variables, the project: address, where it is from, key, where that is from
        (asked(local=True), {**VARIABLE, **KEY}, CONFIG, None),
        (asked(FLAG), {**VARIABLE, **KEY}, CONFIG, (FLAG, "--service-url", "variable-key", "KNEO_SERV_API_KEY")),
        (asked(FLAG), {}, None, (FLAG, "--service-url", None, None)),
        (asked(FLAG, "other"), KEY, None, (FLAG, "--service-url", "other-key", "profile 'other'")),
        (asked(FLAG, "open"), KEY, None, (FLAG, "--service-url", "variable-key", "KNEO_SERV_API_KEY")),
        (asked(None, "other"), {**VARIABLE, **KEY}, CONFIG, ("http://other:1", "'other'", "other-key", "'other'")),
        (asked(None, "open"), KEY, CONFIG, ("http://open:1", "'open'", "variable-key", "KNEO_SERV_API_KEY")),
        (asked(None, "open"), {}, CONFIG, ("http://open:1", "'open'", None, None)),
        (asked(), {**VARIABLE, **KEY}, CONFIG, (SET, "KNEO_SERV_URL", "variable-key", "KNEO_SERV_API_KEY")),
        (asked(), VARIABLE, CONFIG, (SET, "KNEO_SERV_URL", None, None)),
        (asked(), KEY, CONFIG, (CONFIG, "default_url in kneo.yaml", "variable-key", "KNEO_SERV_API_KEY")),
        (asked(), {}, CONFIG, (CONFIG, "default_url in kneo.yaml", None, None)),
        (asked(), {}, None, ("http://active:1", "the active profile 'active'", "active-key", "profile 'active'")),
        (asked(), KEY, None, ("http://active:1", "the active profile 'active'", "active-key", "profile 'active'")),
        (asked(), {"KNEO_SERV_URL": "  ", "KNEO_SERV_API_KEY": " "}, "", ("http://active:1", "", "active-key", "")),
    ],
)  # fmt: skip
def test_the_first_that_says_where_to_go_decides(
    profiles: ProfileFile,
    directions: Directions,
    environ: dict[str, str],
    configured: str | None,
    expected: tuple[str, str, str | None, str | None] | None,
) -> None:
    found = choose(directions, profiles, environ=environ, configured=configured, config="kneo.yaml")
    if expected is None:
        assert found is None
        return
    url, source, key, key_source = expected
    assert found is not None
    assert (found.url, found.api_key) == (url, key)
    assert source in found.source
    assert (found.key_source is None) is (key_source is None)
    assert (key_source or "") in (found.key_source or "")


def test_without_anything_that_says_so_it_is_the_platform_in_this_process(tmp_path: Path) -> None:
    assert choose(asked(), ProfileFile(tmp_path / "none.json"), environ=KEY) is None
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_profile_is_told_with_the_nearest_one(profiles: ProfileFile) -> None:
    with pytest.raises(ProfileUnknownError, match="Unknown profile: othr") as unknown:
        choose(asked(None, "othr"), profiles, environ={})
    assert unknown.value.hint == "Did you mean other?"


def test_profiles_that_cannot_be_read_stop_only_whoever_needs_them(profiles: ProfileFile) -> None:
    profiles.path.write_text("{oops")
    for directions, environ in ((asked(FLAG), {}), (asked(local=True), {}), (asked(), VARIABLE)):
        choose(directions, profiles, environ=environ)
    assert choose(asked(), profiles, environ={}, configured=CONFIG) is not None
    for directions in (asked(), asked(None, "other"), asked(FLAG, "other")):
        with pytest.raises(ProfileFileError, match=r"no JSON \(line 1, column 2") as broken:
            choose(directions, profiles, environ={})
        assert str(profiles.path) in str(broken.value)
        assert "--local" in str(broken.value)


@pytest.mark.parametrize("key", ["s3cret\nX-Evil: 1", "s3crét", "s3 cret", "s3cret\x00"])
def test_a_key_that_no_header_takes_is_refused_and_not_repeated(profiles: ProfileFile, key: str) -> None:
    with pytest.raises(InvalidRequestError, match="KNEO_SERV_API_KEY") as refused:
        choose(asked(FLAG), profiles, environ={"KNEO_SERV_API_KEY": key})
    assert "s3" not in str(refused.value)


def test_a_key_is_not_shown_with_its_destination() -> None:
    assert "s3cret" not in repr(Destination("http://host", "the test", "s3cret", "the test"))
