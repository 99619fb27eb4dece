"""Everything in here kills real processes."""

import pytest

from tests.crash.processes import start_server


@pytest.fixture(scope="session", autouse=True)
def server() -> None:
    start_server()
