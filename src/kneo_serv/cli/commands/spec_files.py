"""`kneo spec`: the commands that write spec files anew."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv.cli.commands.spec import spec_app as spec_app
from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.files import existing_file
from kneo_serv.cli.options import AsJson, Environment, Output, Overlays, SpecPath
from kneo_serv.cli.subject import open_local_subject
from kneo_serv.cli.terminal import show, show_json, succeed, warn
from kneo_serv.cli.workspace import open_workspace


@spec_app.command("migrate")
def migrate(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Path of the spec.")],
    output: Output = None,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when something would change.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a spec of an older version up to the present one. Comments are not kept."""
    from kneo_serv.spec.migrations import migrate_spec
    from kneo_serv.spec.reader import dump_yaml, read_file

    result = migrate_spec(read_file(existing_file(spec)).data())
    if output is not None and not check:
        output.write_text(dump_yaml(result.spec), encoding="utf-8")
    if as_json:
        facts = {
            "source_version": result.source_version,
            "target_version": result.target_version,
            "changed": result.changed,
            "applied": list(result.applied),
        }
        show_json(facts if check else {**facts, **({"output": str(output)} if output else {"spec": result.spec})})
    elif check:
        for change in result.applied:
            warn(f"{spec}: {change}")
        if not result.changed:
            succeed(f"{spec} is of version {result.target_version}.")
    elif output is None:
        show(dump_yaml(result.spec).rstrip("\n"))
    else:
        succeed(f"Wrote {output}.")
    if check and result.changed:
        raise typer.Exit(ExitCode.FAILURE)


@spec_app.command("resolve")
def resolve(
    spec: SpecPath = None,
    output: Output = None,
    environment: Environment = None,
    overlays: Overlays = None,
    as_json: AsJson = False,
) -> None:
    """Write the one document that a spec and its overlays make together."""
    from kneo_serv.spec.reader import dump_yaml

    merged = open_local_subject(open_workspace(environment), spec, overlays).merged()
    if output is not None:
        output.write_text(dump_yaml(merged), encoding="utf-8")
    if as_json:
        show_json({"output": str(output)} if output else {"spec": merged})
    elif output is None:
        show(dump_yaml(merged).rstrip("\n"))
    else:
        succeed(f"Wrote {output}.")


@spec_app.command("schema")
def schema(output: Output = None, as_json: AsJson = False) -> None:
    """Write the JSON Schema of specs, as editors use it. It is JSON with and without --json."""
    from kneo_serv.spec.schema import spec_schema

    document = spec_schema()
    if output is None:
        show_json(document)
        return
    output.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        show_json({"output": str(output)})
    else:
        succeed(f"Wrote {output}.")
