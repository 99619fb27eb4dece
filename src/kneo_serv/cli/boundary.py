"""The edge between commands and the shell: every error becomes a message and an exit code here, and nowhere else."""

import sys
import traceback
from typing import Any, cast

import typer
from typer.core import TyperGroup

from kneo_serv.cli.exit_codes import ExitCode
from kneo_serv.cli.failure import show_failure
from kneo_serv.cli.files import file_error
from kneo_serv.cli.refusal import Interrupted
from kneo_serv.cli.terminal import fail, note, show_json
from kneo_serv.errors import KneoError

_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for a wrong command line; it shows these itself, with the usage of the command."""


class KneoGroup(TyperGroup):
    """The root of all commands."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command and gives its exit code to the shell, whatever happens in it."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except _UsageError as error:
            if not as_json:
                raise
            message = cast("typer.BadParameter", error).format_message()
            show_json({"error": {"code": "usage", "message": message}})
            raise typer.Exit(ExitCode.USAGE) from error
        except KneoError as error:
            show_failure(error, as_json=as_json)
            raise typer.Exit(ExitCode.FAILURE) from error
        except OSError as error:
            show_failure(file_error(error), as_json=as_json)
            raise typer.Exit(ExitCode.FAILURE) from error
        except KeyboardInterrupt as error:
            kept = "A run that was under way is kept: see `kneo runs list`, and `kneo runs continue`."
            note(f"\nInterrupted. {error.message if isinstance(error, Interrupted) else kept}")
            raise typer.Exit(ExitCode.INTERRUPTED) from error
        except Exception as error:  # the last line of defence of a command line: a script must see JSON and a code
            if as_json:
                show_json({"error": {"code": "internal_error", "message": f"{type(error).__name__}: {error}"}})
            traceback.print_exc(file=sys.stderr)
            fail("This is a fault of kneo itself. Please report it with the lines above.")
            raise typer.Exit(ExitCode.FAILURE) from error
