"""PostgreSQL for every room: one server of each source per test process, started when the first test asks for it."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.store.postgres.cluster import REQUIRED, Cluster, NotThereError

_CLUSTERS: dict[str, Cluster | str] = {}


def _cluster(source: str) -> Cluster:
    if source not in _CLUSTERS:
        made = Cluster(source)
        try:
            made.make()
            _make_template(made)
        except NotThereError as missing:
            made.remove()
            _CLUSTERS[source] = str(missing)
        else:
            _CLUSTERS[source] = made
    found = _CLUSTERS[source]
    if isinstance(found, str):
        text = f"NO POSTGRESQL ({source}): {found}"
        if os.environ.get(REQUIRED):
            pytest.fail(text)
        pytest.skip(text)
    return found


def _make_template(cluster: Cluster) -> None:
    from kneo_serv.store.postgres import PostgresStore

    cluster.execute("CREATE DATABASE kneo_template TEMPLATE template0 ENCODING 'UTF8'")

    async def prepare() -> None:
        store = PostgresStore(cluster.url("kneo_template"))
        await store.open()
        await store.close()

    asyncio.run(prepare())


@pytest.fixture(scope="session", autouse=True)
def _postgres_servers() -> Iterator[None]:
    yield
    for cluster in _CLUSTERS.values():
        if isinstance(cluster, Cluster):
            cluster.remove()


@pytest.fixture
def postgres() -> Cluster:
    """A server from the wheel, which is there wherever the development tools are."""
    return _cluster("wheel")


@pytest.fixture
def postgres_url(postgres: Cluster) -> Iterator[str]:
    """Address of a database with our schema and nothing in it."""
    url = postgres.new_database("kneo_template")
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["system", "wheel"])
def any_postgres_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same, on each version at hand."""
    cluster = _cluster(request.param)
    url = cluster.new_database("kneo_template")
    yield url
    cluster.drop_database(url)
