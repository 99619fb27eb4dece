"""Options of the commands that stay: where their variables come from, and how they log."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

EnvFile = Annotated[
    Path | None,
    typer.Option("--env-file", metavar="PATH", help="Variables, NAME=value a line; those that are set already win."),
]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="json|text", help="Else KNEO_SERV_LOG_FORMAT, else json.")
]
LogLevel = Annotated[
    str | None, typer.Option("--log-level", metavar="LEVEL", help="Else KNEO_SERV_LOG_LEVEL, else INFO.")
]


def take_env_file(path: Path | None) -> None:
    """Sets the variables of the file that are not set. Raises SettingsError."""
    if path is None:
        return
    from kneo_serv.service.env_file import read_env_file

    for name, value in read_env_file(path).items():
        os.environ.setdefault(name, value)


def chosen(option: str, name: str, text: str | None) -> Any:
    """What an option says that stands in place of a setting, as the setting reads it. Raises BadParameter."""
    from kneo_serv.settings import SETTINGS

    if text is None:
        return None
    (reader,) = (setting.reader for setting in SETTINGS if setting.name == name)
    try:
        return reader.read(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} must be {reader.allowed}.", param_hint=option) from None
