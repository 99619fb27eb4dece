"""Processes of the version before go on while a migration changes the schema under them: its own suite, on the new one.

Asked for by name (`make test-previous`), since it needs the history of the repository.
"""

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kneo_serv.store.postgres.schema import SCHEMA_VERSION
from tests.store.postgres.cluster import Cluster

ROOT = Path(__file__).parents[3]
PREVIOUS = "3f0709876e2c2c42725ced27ef0e442e8c2f63f7"
"""The last commit before the newest migration came."""

# A process of then has opened its store before; one that starts afterwards is told to be updated.
_PROVE = """
import sys
import psycopg
from kneo_serv.store.postgres import PostgresStore, schema
from kneo_serv.testing.store_suite import CASES, prove

server, template, newest = sys.argv[1:]
assert schema.SCHEMA_VERSION < int(newest)
schema.SCHEMA_VERSION = int(newest)
for number, name in enumerate(CASES):
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE previous_{number} TEMPLATE {template}")
    url = f"{server.rpartition('/')[0]}/previous_{number}"
    try:
        prove(name, lambda: PostgresStore(url))
    except Exception as error:
        raise AssertionError(name) from error
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE previous_{number} WITH (FORCE)")
print(len(CASES), "cases")
"""


@pytest.mark.previous
def test_the_previous_version_keeps_its_contract_on_the_schema_of_this_one(postgres: Cluster, tmp_path: Path) -> None:
    packed = subprocess.run(["git", "archive", PREVIOUS, "src"], cwd=ROOT, capture_output=True, check=False, timeout=60)
    assert packed.returncode == 0, f"The history of the repository is needed: {packed.stderr.decode()}"
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(tmp_path, filter="data")
    done = subprocess.run(
        [sys.executable, "-c", _PROVE, postgres.url("postgres"), "kneo_template", str(SCHEMA_VERSION)],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "cases" in done.stdout
