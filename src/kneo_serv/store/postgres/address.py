"""The address of a database: how it is connected to, and what may be said of it."""

from dataclasses import dataclass, field

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from kneo_serv.errors import InvalidRequestError

# A peer that is gone without a word is noticed within half a minute, not after the hours that systems wait.
_DEFAULTS: dict[str, object] = {
    "application_name": "kneo-serv",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a database is. `place` may be shown: host, port and name, no user and no password."""

    conninfo: str = field(repr=False)
    place: str


def parse(url: str) -> Address:
    """The address that a URL names, in any form that libpq understands.

    Raises:
        InvalidRequestError: libpq does not understand it; the text does not quote it.
    """
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError:
        # Not even as the cause: its text may quote the address.
        raise InvalidRequestError(
            "The address of the database cannot be read. Use postgresql://user:password@host:5432/name, with special "
            "characters in user and password percent-encoded."
        ) from None
    hosts = str(given.get("host") or given.get("hostaddr") or "localhost").split(",")
    ports = str(given.get("port") or "5432").split(",")
    named = [
        host if host.startswith("/") else f"{host}:{ports[min(number, len(ports) - 1)]}"
        for number, host in enumerate(hosts)
    ]
    name = given.get("dbname") or given.get("user") or "postgres"
    return Address(
        make_conninfo(**{name: str(value) for name, value in (_DEFAULTS | given).items()}), f"{','.join(named)}/{name}"
    )
