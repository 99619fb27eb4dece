"""The SQLite store keeps the contract that every store keeps."""

from pathlib import Path

import pytest

from kneo_serv.store.sqlite import SQLiteStore
from kneo_serv.testing.store_suite import CASES, prove


@pytest.mark.parametrize("name", CASES)
def test_contract(name: str, tmp_path: Path) -> None:
    prove(name, lambda: SQLiteStore(tmp_path / "runs.sqlite"))
