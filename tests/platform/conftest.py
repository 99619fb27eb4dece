"""The promises of a run, proved on every database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import functions
from tests.platform.worlds import ADDRESS

ON_EVERY_DATABASE = frozenset(
    {"test_cancel", "test_many_people", "test_people", "test_retries", "test_schedules", "test_takeover"}
)
"""The files whose tests run on PostgreSQL too."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test of theirs that opens a platform, once on each database."""
    name = metafunc.module.__name__.rpartition(".")[2]
    if name in ON_EVERY_DATABASE and "tmp_path" in metafunc.fixturenames:
        metafunc.parametrize("_database", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(autouse=True)
def _database(request: pytest.FixtureRequest) -> Iterator[None]:
    """Names in the test's folder the database that its platforms work on."""
    if getattr(request, "param", "sqlite") == "postgresql":
        folder: Path = request.getfixturevalue("tmp_path")
        (folder / ADDRESS).write_text(request.getfixturevalue("postgres_url"))
    yield
    functions.forget()
