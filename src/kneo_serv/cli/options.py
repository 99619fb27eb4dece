"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON, errors too.")]
Environment = Annotated[
    str | None,
    typer.Option("--env", envvar="KNEO_ENV", metavar="NAME", help="Environment whose overlays and defaults apply."),
]
SpecPath = Annotated[
    Path | None,
    typer.Argument(metavar="SPEC", help="Path of the spec; else the project's default_spec.", show_default=False),
]
Overlays = Annotated[
    list[Path] | None,
    typer.Option("--overlay", metavar="PATH", help="Lay this file over the spec; may be repeated, the last one wins."),
]
RunIdArgument = Annotated[str, typer.Argument(metavar="RUN_ID", help="As `kneo run` and `kneo runs list` show it.")]
Tools = Annotated[
    list[str] | None,
    typer.Option(
        "--tools",
        metavar="MODULE:FUNCTION",
        help="Call this function with the ToolRegistry, so that it registers tools of your own; may be repeated.",
    ),
]
Factory = Annotated[
    str | None,
    typer.Option(
        "--factory",
        metavar="MODULE:FUNCTION",
        help="Use the PlatformManager that this function returns.",
    ),
]
NoStream = Annotated[bool, typer.Option("--no-stream", help="Do not show what models say while they say it.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="PATH", help="Write it to this file, instead of stdout.")
]
ContinuationId = Annotated[
    str, typer.Argument(metavar="CONTINUATION_ID", help="As a paused run and `kneo human list` show it.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
