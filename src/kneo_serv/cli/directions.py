"""The options that say which platform a command talks to."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any

import typer


@dataclass(frozen=True, slots=True)
class Directions:
    """What a command line says about where its platform is; usually nothing."""

    service_url: str | None = None
    profile: str | None = None
    local: bool = False


ServiceUrl = Annotated[
    str | None, typer.Option("--service-url", metavar="URL", help="Talk to the service at this address.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Talk to the service of this profile, with its key.")
]
Local = Annotated[bool, typer.Option("--local", help="Use the state in this folder, whatever is configured.")]

_OPTIONS: dict[str, Any] = {"service_url": ServiceUrl, "profile": Profile, "local": Local}


def directed(command: Callable[..., None]) -> Callable[..., None]:
    """The command with `--service-url`, `--profile` and `--local`, which reach it together as `directions`."""

    @wraps(command)
    def called(*, service_url: str | None, profile: str | None, local: bool, **given: Any) -> None:
        if local and (service_url is not None or profile is not None):
            raise typer.BadParameter("It goes with neither of the others.", param_hint="--local")
        command(directions=Directions(service_url, profile, local), **given)

    own = inspect.signature(command)
    parameters = [one for one in own.parameters.values() if one.name != "directions"]
    parameters += [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False if name == "local" else None, annotation=option
        )
        for name, option in _OPTIONS.items()
    ]
    parameters.sort(key=lambda one: one.kind)
    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called
