"""Bundles: a seal that breaks with every change."""

import json

import pytest

from kneo_serv.spec.bundles import (
    SpecBundleError,
    create_spec_bundle,
    signing_key_from_env,
    spec_digest,
    verify_spec_bundle,
)

SPEC = {"version": "v1", "agent": {"name": "ä"}}


def bundle() -> dict[str, object]:
    made = create_spec_bundle(SPEC, signing_key="k", approved_by="Ann", created_at="2026-05-10T00:00:00Z")
    loaded: dict[str, object] = json.loads(json.dumps(made))
    return loaded


def test_a_bundle_verifies_with_its_key_only() -> None:
    assert verify_spec_bundle(bundle(), signing_key="k").valid
    other = verify_spec_bundle(bundle(), signing_key="other")
    assert (other.valid, other.digest_valid, other.signature_valid) == (False, True, False)


@pytest.mark.parametrize("block", ["spec", "metadata", "digest", "signature", "kind"])
def test_every_change_shows(block: str) -> None:
    changed = bundle()
    changed[block] = {"agent": {"name": "eve"}} if block != "kind" else "other"
    result = verify_spec_bundle(changed, signing_key="k")
    assert not result.valid
    assert result.errors
    assert result.to_dict()["valid"] is False


def test_an_odd_bundle_is_not_valid_and_raises_nothing() -> None:
    for odd in ({}, {"spec": 5}, {"spec": {}, "digest": [], "signature": {"algorithm": "HMAC-SHA256", "value": 7}}):
        assert not verify_spec_bundle(odd, signing_key="k").valid
    assert not verify_spec_bundle(bundle(), signing_key="").valid


def test_the_digest_knows_content_and_not_order() -> None:
    assert spec_digest({"a": 1, "b": "é"}) == spec_digest({"b": "é", "a": 1})
    assert spec_digest({"a": 1}) != spec_digest({"a": 2})


def test_signing_needs_a_key_and_a_name() -> None:
    with pytest.raises(SpecBundleError, match="approved_by"):
        create_spec_bundle(SPEC, signing_key="k", approved_by=" ", created_at="now")
    with pytest.raises(SpecBundleError, match="KNEO_SERV_SPEC_SIGNING_KEY"):
        create_spec_bundle(SPEC, signing_key="", approved_by="Ann", created_at="now")
    with pytest.raises(SpecBundleError, match="MY_KEY is not set"):
        signing_key_from_env({}, "MY_KEY")
    assert signing_key_from_env({"KNEO_SERV_SPEC_SIGNING_KEY": "k"}) == "k"


def test_an_old_spec_is_migrated_before_it_is_sealed() -> None:
    made = create_spec_bundle({"root_agent": {"name": "a"}}, signing_key="k", approved_by="A", created_at="now")
    assert made["spec"] == {"version": "v1", "agent": {"name": "a"}}
