"""The distribution is what it says it is."""

from importlib.metadata import distribution
from pathlib import Path

import kneo_serv


def test_the_version_has_one_source() -> None:
    assert distribution("kneo-serv").version == kneo_serv.__version__


def test_the_types_are_shipped() -> None:
    assert (Path(kneo_serv.__file__).parent / "py.typed").is_file()


def test_the_command_is_called_kneo() -> None:
    (command,) = distribution("kneo-serv").entry_points.select(group="console_scripts")
    assert (command.name, command.value) == ("kneo", "kneo_serv.cli.main:app")


def test_every_room_says_what_it_is_for() -> None:
    rooms = sorted(Path(kneo_serv.__file__).parent.glob("*/__init__.py"))
    assert rooms
    assert [room.parent.name for room in rooms if not room.read_text().startswith('"""')] == []
