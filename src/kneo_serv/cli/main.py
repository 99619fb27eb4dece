"""The command `kneo`. Importing it stays cheap: each command imports what it needs when it is called."""

from typing import Annotated

import typer

from kneo_serv import __version__
from kneo_serv.cli.boundary import KneoGroup
from kneo_serv.cli.commands.audit import audit_app
from kneo_serv.cli.commands.bundle import bundle_app
from kneo_serv.cli.commands.config import config_app
from kneo_serv.cli.commands.doctor import doctor
from kneo_serv.cli.commands.fleet import limits_app, providers_app
from kneo_serv.cli.commands.forks import fork, retry
from kneo_serv.cli.commands.human import human_app
from kneo_serv.cli.commands.keeping import delete, export
from kneo_serv.cli.commands.prune import prune
from kneo_serv.cli.commands.run import run
from kneo_serv.cli.commands.runs import runs_app
from kneo_serv.cli.commands.schedules import schedules_app
from kneo_serv.cli.commands.service import service_app
from kneo_serv.cli.commands.spec_files import spec_app
from kneo_serv.cli.commands.worker import worker
from kneo_serv.cli.exit_codes import MEANINGS
from kneo_serv.cli.terminal import show

# The first line keeps the lines of this paragraph as they are.
_EPILOG = "\b\nExit codes:\n" + "\n".join(f"  {code.value:>3}  {meaning}" for code, meaning in MEANINGS.items())

app = typer.Typer(
    name="kneo",
    cls=KneoGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
app.command("run")(run)
runs_app.command("fork")(fork)
runs_app.command("retry")(retry)
runs_app.command("export")(export)
runs_app.command("delete")(delete)
app.add_typer(runs_app)
app.add_typer(schedules_app)
app.add_typer(human_app)
app.add_typer(audit_app)
app.command("doctor")(doctor)
app.command("prune")(prune)
spec_app.add_typer(bundle_app)
app.add_typer(spec_app)
app.add_typer(config_app)
app.add_typer(service_app)
app.command("worker")(worker)
app.add_typer(limits_app)
app.add_typer(providers_app)


def _print_version(wanted: bool) -> None:
    if wanted:
        show(f"kneo-serv {__version__}")
        raise typer.Exit


@app.callback()
def kneo(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and leave."),
    ] = False,
) -> None:
    """Durable agent workflows from a YAML spec, with people in the loop."""
