"""`kneo config`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv.cli.options import AsJson
from kneo_serv.cli.terminal import show_json, succeed
from kneo_serv.errors import InvalidRequestError

config_app = typer.Typer(name="config", no_args_is_help=True, help="See and start the project's configuration.")

_TEMPLATE = """\
# The project's configuration. Paths count from the folder that holds .kneo.
project:
  name: {name}
  default_environment: dev

specs: {{}}
  # default_spec: examples/research_agent.yaml
  # overlays:
  #   staging: [examples/research_agent.staging.yaml]
  #   prod: [examples/research_agent.prod.yaml]
"""


@config_app.command("init")
def init(
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the project; else the folder's.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a configuration that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write .kneo/config.yaml into the current folder."""
    path = Path.cwd() / ".kneo" / "config.yaml"
    if path.exists() and not force:
        raise InvalidRequestError(f"{path} is there already; --force replaces it.")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    # A JSON string is a YAML string too, whatever letters the name holds.
    path.write_text(_TEMPLATE.format(name=json.dumps(name or Path.cwd().name, ensure_ascii=False)), encoding="utf-8")
    if as_json:
        show_json({"config_path": str(path)})
        return
    succeed(f"Wrote {path}.")
