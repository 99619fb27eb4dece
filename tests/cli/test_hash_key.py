"""`kneo service hash-key`."""

import hashlib

from tests.cli.shell import Shell


def test_a_key_comes_in_by_standard_input_and_only_its_digest_goes_out(kneo: Shell) -> None:
    told = kneo("service", "hash-key", stdin="s3cret key\nignored\n")
    assert told.exit_code == 0
    assert told.stdout == f"sha256:{hashlib.sha256(b's3cret key').hexdigest()}\n"


def test_without_a_key_it_says_where_it_is_expected(kneo: Shell) -> None:
    told = kneo("service", "hash-key", stdin="\n")
    assert told.exit_code == 2
    assert "first line of standard input" in told.stderr
