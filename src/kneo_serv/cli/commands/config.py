"""`kneo config`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv.cli.commands.profile import profile_app
from kneo_serv.cli.options import AsJson, Environment
from kneo_serv.cli.terminal import show, show_facts, show_json, succeed, warn
from kneo_serv.cli.workspace import open_workspace
from kneo_serv.errors import InvalidRequestError

config_app = typer.Typer(name="config", no_args_is_help=True, help="See and start the project's configuration.")
config_app.add_typer(profile_app)

_TEMPLATE = """\
# The project's configuration. Paths count from the folder that holds .kneo.
project:
  name: {name}
  default_environment: dev

specs:
  # default_spec: examples/research_agent.yaml
  # overlays:
  #   staging: [examples/research_agent.staging.yaml]
  #   prod: [examples/research_agent.prod.yaml]

platform:
  # tools: ["my_tools:register"]           called with the ToolRegistry
  # factory: my_factory:build_platform     returns the PlatformManager
"""


@config_app.command("show")
def show_config(as_json: AsJson = False) -> None:
    """Show the configuration that applies in this folder."""
    from kneo_serv.observe import redact_data
    from kneo_serv.spec.reader import read_file

    path = open_workspace().project.config_path
    content = None if path is None else redact_data(read_file(path).data())
    if as_json:
        show_json(content)
    elif path is None:
        warn("There is no project configuration here or above; `kneo config init` writes one.")
    else:
        show(json.dumps(content, indent=2, ensure_ascii=False))
        succeed(f"From {path}.")


@config_app.command("resolve")
def resolve(
    environment: Environment = None,
    spec: Annotated[Path | None, typer.Option("--spec", metavar="PATH", help="As if this spec was named.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what follows from the configuration: folder, environment, spec, overlays, state."""
    workspace = open_workspace(environment)
    config, code = workspace.project.config, workspace.code
    named = workspace.spec(spec) if spec is not None or (config and config.specs.default_spec) else None
    facts = {
        "root_dir": str(workspace.root),
        "config_path": str(workspace.project.config_path) if config else None,
        "environment": workspace.environment,
        "spec_path": str(named) if named else None,
        "overlay_paths": workspace.overlays(),
        "state_path": str(workspace.state_path),
        "tools": [named.path for named in code.tools],
        "factory": code.factory.path if code.factory else None,
        "service_url": config.service.default_url if config else None,
        "has_config": config is not None,
    }
    if as_json:
        show_json(facts)
        return
    show_facts((name.replace("_", " "), value) for name, value in facts.items())


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
