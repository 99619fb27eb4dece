"""The PostgreSQL store keeps the contract that every store keeps, on every version at hand."""

import pytest

from kneo_serv.testing.store_suite import CASES, prove


@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, any_postgres_url: str) -> None:
    from kneo_serv.store.postgres import PostgresStore

    prove(name, lambda: PostgresStore(any_postgres_url))
