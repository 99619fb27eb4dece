"""Keys: how they are written down, kept and found again."""

from datetime import UTC, datetime

import pytest

from kneo_serv.service.auth import APIKeyRecord
from kneo_serv.service.auth.keys import find_key, hash_of, read_entry, write_digest

SECRET = "s3cret-of-alice"


def test_an_entry_gives_its_name_its_scopes_and_no_key() -> None:
    record = read_entry(f" alice : {SECRET} : viewer , runs:write ")
    assert record.name == "alice"
    assert record.roles == {"viewer"}
    assert record.scopes == {"runs:read", "specs:read", "human:read", "audit:read", "runs:write"}
    assert record.principal.has_scope("runs:write")
    assert not record.principal.has_scope("policies:write")
    assert SECRET not in repr(record)


def test_a_key_may_grant_nothing() -> None:
    record = read_entry(f"alice:{SECRET}:")
    assert not record.scopes
    assert not record.principal.has_scope("runs:read")


def test_an_entry_names_its_tenant_and_its_end() -> None:
    record = read_entry(f"alice:{SECRET}:viewer,tenant=acme,expires=2027-01-31T12:00:00+02:00")
    assert record.principal.tenant == "acme"
    assert record.expires_at == datetime(2027, 1, 31, 10, tzinfo=UTC)


def test_a_day_counts_to_its_end_and_the_moment_itself_is_over() -> None:
    record = read_entry(f"alice:{SECRET}:viewer,expires=2027-01-31")
    end = datetime(2027, 2, 1, tzinfo=UTC).timestamp()
    assert not record.expired(end - 0.001)
    assert record.expired(end)


def test_a_digest_stands_for_its_key_and_is_no_key_itself() -> None:
    digest = write_digest(SECRET)
    record = read_entry(f"alice:{digest}:operator,expires=2099-01-01T00:00:00Z")
    assert find_key([record], SECRET, 0.0) is record
    assert find_key([record], digest, 0.0) is None
    assert find_key([record], digest.removeprefix("sha256:"), 0.0) is None


@pytest.mark.parametrize(
    "entry",
    [
        SECRET,
        f"alice:{SECRET}",
        f":{SECRET}:viewer",
        "alice::viewer",
        f"alice:x:{SECRET}",
        f"alice:viewer:{SECRET}",
        f"alice:{SECRET}:x:viewer",
        f"alice:abc:{SECRET}:viewer",
        f"alice:{SECRET}:viewr",
        f"alice:{SECRET}:tenant=no spaces",
        f"alice:{SECRET}:tenant=a,tenant=b",
        f"alice:{SECRET}:expires=tomorrow",
        f"alice:{SECRET}:expires=2027-02-30",
        f"alice:{SECRET}:expires=9999-12-31",
        f"alice:{SECRET}:colour=red",
        f"alice:sha256:{SECRET}:viewer",
        f"alice:sha256:{'g' * 64}:viewer",
    ],
)
def test_an_entry_that_cannot_be_used_is_refused_without_its_key(entry: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        read_entry(entry)
    assert SECRET not in str(refused.value)


def test_a_typing_error_in_a_role_is_told_with_the_role_that_was_meant() -> None:
    with pytest.raises(ValueError, match=r"grant 2, 'opertor', is no role or scope; did you mean operator\?"):
        read_entry(f"alice:{SECRET}:viewer,opertor")


def test_of_two_records_of_one_key_the_one_that_is_not_expired_counts() -> None:
    old = read_entry(f"alice:{SECRET}:viewer,expires=2020-01-01")
    new = read_entry(f"alice:{SECRET}:operator")
    later = read_entry(f"bob:{SECRET}:admin")
    now = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert find_key([old, new, later], SECRET, now) is new
    assert find_key([old], SECRET, now) is old


def test_keys_of_any_characters_are_compared_without_an_error() -> None:
    record = APIKeyRecord.of("alice", SECRET, ["viewer"])
    for key in ("schlüssel", "\udcff", "", "\x00"):
        assert find_key([record], key, 0.0) is None
    assert len(hash_of("\udcff")) == 32
