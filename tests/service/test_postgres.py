"""The address of a PostgreSQL database chooses its store."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from kneo_serv.errors import SettingsError
from kneo_serv.service.factory import create_persistence_stores

_WITHOUT_THE_EXTRA = """
import sys
sys.modules["psycopg"] = None
from kneo_serv.errors import MissingExtraError
from kneo_serv.service.factory import create_persistence_stores
try:
    create_persistence_stores()
except MissingExtraError as error:
    print(error)
"""
_LIGHT = """
import sys
from kneo_serv.service.factory import create_persistence_stores
create_persistence_stores(state_path=sys.argv[1])
print("psycopg" in sys.modules)
"""


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_an_address_of_postgresql_is_served_without_a_folder(
    scheme: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KNEO_SERV_DATABASE_POOL_SIZE", "3")
    monkeypatch.setenv("KNEO_SERV_DATABASE_URL", postgres_url.replace("postgresql", scheme))
    store, folder = create_persistence_stores()
    assert folder is None

    async def prove() -> None:
        await store.open()
        health = await store.health()
        assert (health.backend, health.facts["pool_size"]) == ("postgresql", 3)
        await store.close()

    asyncio.run(prove())
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_cannot_be_read_names_the_setting_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KNEO_SERV_DATABASE_URL", "postgresql://kneo:hunter2@[::1/kneo")
    with pytest.raises(SettingsError, match="KNEO_SERV_DATABASE_URL: The address") as caught:
        create_persistence_stores()
    assert "hunter2" not in str(caught.value)


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path: Path) -> None:
    environ = {"KNEO_SERV_DATABASE_URL": "postgresql://localhost/kneo", "PATH": "", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_THE_EXTRA],
        env=environ,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install 'kneo-serv[postgres]'" in done.stdout


def test_without_such_an_address_the_driver_is_not_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIGHT, str(tmp_path / "runs.sqlite")],
        env={"PATH": "", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
