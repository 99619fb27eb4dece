"""`kneo spec bundle`: specs that were approved and sealed."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.files import existing_file
from kneo_serv.cli.options import AsJson, Environment
from kneo_serv.cli.terminal import fail, show_json, succeed

bundle_app = typer.Typer(name="bundle", no_args_is_help=True, help="Seal approved specs, and check the seal.")

KeyVariable = Annotated[
    str, typer.Option("--key-env", metavar="NAME", help="Environment variable that holds the signing key.")
]
_KEY = "KNEO_SERV_SPEC_SIGNING_KEY"


@bundle_app.command("sign")
def sign(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="Path of the spec.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Where the bundle is written.")],
    approved_by: Annotated[str, typer.Option("--approved-by", metavar="NAME", help="Who approved the spec.")],
    environment: Environment = None,
    key_variable: KeyVariable = _KEY,
    as_json: AsJson = False,
) -> None:
    """Seal a spec as it is: no overlays, no checks."""
    from kneo_serv.spec.bundles import create_spec_bundle, signing_key_from_env
    from kneo_serv.spec.reader import read_file

    bundle = create_spec_bundle(
        read_file(existing_file(spec)).data(),
        signing_key=signing_key_from_env(os.environ, key_variable),
        approved_by=approved_by,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=environment,
        key_id=key_variable,
    )
    output.write_text(json.dumps(bundle, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        signature = {name: bundle["signature"][name] for name in ("algorithm", "key_id")}
        show_json({"output": str(output), "digest": bundle["digest"], "signature": signature})
    else:
        succeed(f"Wrote {output}.")


@bundle_app.command("verify")
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Path of the bundle.")],
    key_variable: KeyVariable = _KEY,
    as_json: AsJson = False,
) -> None:
    """Check that a bundle is unchanged and was sealed with this key."""
    from kneo_serv.spec.bundles import signing_key_from_env, verify_spec_bundle
    from kneo_serv.spec.reader import read_file

    found = verify_spec_bundle(
        read_file(existing_file(bundle)).data(), signing_key=signing_key_from_env(os.environ, key_variable)
    )
    if as_json:
        show_json(found.to_dict())
    elif found.valid:
        succeed(f"{bundle} is as it was approved.")
    for problem in () if as_json else found.errors:
        fail(problem)
    if not found.valid:
        raise typer.Exit(ExitCode.FAILURE)
