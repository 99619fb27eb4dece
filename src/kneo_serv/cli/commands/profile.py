"""`kneo config profile`."""

import getpass
import os
import sys
from typing import Annotated, Any

import typer

from kneo_serv.cli.address import checked_address
from kneo_serv.cli.destination import Destination, checked_key
from kneo_serv.cli.opening import warn_of
from kneo_serv.cli.options import AsJson
from kneo_serv.cli.profiles import Profile, ProfileFile, checked_name
from kneo_serv.cli.terminal import show_facts, show_json, show_rows, somebody_is_there, succeed, warn
from kneo_serv.errors import InvalidRequestError

profile_app = typer.Typer(name="profile", no_args_is_help=True, help="Keep services under names, each with its key.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the profile.")]


@profile_app.command("set")
def set_profile(
    name: Name,
    service_url: Annotated[str, typer.Option("--service-url", metavar="URL", help="Where the service is.")],
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", metavar="KEY", help="Its key; the shell's history may keep what is written here."),
    ] = None,
    key_from_stdin: Annotated[
        bool, typer.Option("--api-key-stdin", help="Read the key from the first line of standard input.")
    ] = False,
    activate: Annotated[
        bool, typer.Option("--activate/--no-activate", help="Use this profile when none is named.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Keep a service under a name. A profile of this name is replaced, its key too.

    Without an option for the key, a person at the terminal is asked for it.
    """
    if api_key is not None and key_from_stdin:
        raise typer.BadParameter("Give one of them at most.", param_hint=["--api-key", "--api-key-stdin"])
    address = checked_address(service_url, source="the option --service-url")
    key = checked_key(_key(api_key, key_from_stdin, address), source="the command line")
    profile = Profile(checked_name(name), address, key or None)
    file = _file()
    with file.changing() as draft:
        draft.put(draft.profiles.with_profile(profile, active=activate))
    if profile.api_key is not None:
        warn_of(Destination(address, "", profile.api_key), file)
    _tell(f"Saved service profile: {name}", profile, as_json=as_json)


@profile_app.command("use")
def use_profile(name: Name, as_json: AsJson = False) -> None:
    """Talk to this service when none is named."""
    with _file().changing() as draft:
        profile = draft.profiles.named(name)
        draft.put(draft.profiles.with_profile(profile, active=True))
    _tell(f"Active service profile: {name}", profile, as_json=as_json)


@profile_app.command("list")
def list_profiles(as_json: AsJson = False) -> None:
    """List the profiles. Keys are never shown."""
    file = _file()
    profiles = file.read()
    rows = [profiles.by_name[name].shown() for name in sorted(profiles.by_name)]
    _warn_of_exposure(file)
    if as_json:
        show_json({"active": profiles.active, "profiles": rows, "path": str(file.path)})
        return
    if rows:
        cells = [
            ["*" if row["name"] == profiles.active else "", row["name"], row["service_url"], _yes(row["authenticated"])]
            for row in rows
        ]
        show_rows(("ACTIVE", "NAME", "SERVICE", "KEY"), cells)
    succeed(f"{len(rows)} service {'profile' if len(rows) == 1 else 'profiles'} in {file.path}.")


@profile_app.command("show")
def show_profile(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Else the active one.", show_default=False)] = None,
    also_name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The same as NAME.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show one profile. Its key is never shown."""
    if name is not None and also_name is not None and name != also_name:
        raise typer.BadParameter(f"{also_name!r} is another name than {name!r}.", param_hint="--name")
    file = _file()
    profiles = file.read()
    wanted = name or also_name
    profile = profiles.current if wanted is None else profiles.named(wanted)
    if profile is None:
        raise InvalidRequestError("No profile is active: name one, or choose one with `kneo config profile use NAME`.")
    _warn_of_exposure(file)
    _tell(None, profile, as_json=as_json)


@profile_app.command("delete")
def delete_profile(name: Name, as_json: AsJson = False) -> None:
    """Forget a service and its key."""
    with _file().changing() as draft:
        was_there = name in draft.profiles.by_name
        if was_there:
            draft.put(draft.profiles.without(name))
        active = draft.profiles.active
    if as_json:
        show_json({"name": name, "deleted": was_there, "active": active})
    elif was_there:
        succeed(f"Deleted service profile: {name}")
    else:
        warn(f"There was no service profile {name}.")


def _file() -> ProfileFile:
    return ProfileFile.of(os.environ)


def _key(given: str | None, from_stdin: bool, address: str) -> str:
    if given is not None:
        return given
    if from_stdin and not sys.stdin.isatty():
        return sys.stdin.readline()
    if from_stdin or somebody_is_there():
        return getpass.getpass(f"API key for {address} (none: Enter): ")
    return ""


def _tell(done: str | None, profile: Profile, *, as_json: bool) -> None:
    if as_json:
        show_json(profile.shown())
        return
    shown: dict[str, Any] = {**profile.shown(), "authenticated": _yes(bool(profile.api_key))}
    show_facts((name.replace("_", " "), value) for name, value in shown.items())
    if done is not None:
        succeed(done)


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def _warn_of_exposure(file: ProfileFile) -> None:
    exposure = file.exposure()
    if exposure is not None:
        warn(exposure)
