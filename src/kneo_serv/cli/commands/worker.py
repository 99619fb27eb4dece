"""`kneo worker`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kneo_serv.cli.options import Factory, Tools
from kneo_serv.cli.process_options import EnvFile, LogFormat, LogLevel, chosen, take_env_file
from kneo_serv.cli.terminal import show, warn
from kneo_serv.cli.workspace import open_workspace

if TYPE_CHECKING:
    from kneo_serv.platform import PlatformManager


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, max=1024, help="Runs at a time; else KNEO_SERV_WORKER_CONCURRENCY, else 4."
        ),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option(
            "--queues", "-q", metavar="A,B", help="Serve these queues; else KNEO_SERV_WORKER_QUEUES, else all."
        ),
    ] = None,
    timekeeper: Annotated[
        bool | None,
        typer.Option(
            "--timekeeper/--no-timekeeper", help="Whether deadlines are kept here too; else KNEO_SERV_TIMEKEEPER."
        ),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port", min=0, max=65_535, help="Answer /livez, /readyz and /metrics; 0 takes a free one."
        ),
    ] = None,
    health_host: Annotated[
        str, typer.Option("--health-host", metavar="ADDRESS", help="Where to answer them; nobody is asked for a key.")
    ] = "127.0.0.1",
    env_file: EnvFile = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    tools: Tools = None,
    factory: Factory = None,
) -> None:
    """Execute runs, without HTTP, until SIGTERM or Ctrl+C. Any number of workers may share one store.

    Runs in hand finish then, or are handed back for others to go on with. A second Ctrl+C ends the worker at once.
    """
    take_env_file(env_file)

    from kneo_serv.service.factory import create_platform_manager
    from kneo_serv.service.working import WorkOptions, work

    options = WorkOptions(
        health_host=health_host,
        health_port=health_port,
        log_format=chosen("--log-format", "log_format", log_format),
        log_level=chosen("--log-level", "log_level", log_level),
    )
    workspace = open_workspace(tools=tools, factory=factory)
    given: dict[str, Any] = {
        "worker_concurrency": concurrency,
        "queues": chosen("--queues", "worker_queues", queues),
        "timekeeper": timekeeper,
    }

    def make_manager() -> "PlatformManager":
        manager = create_platform_manager(
            workspace.code,
            state_path=workspace.state_path,
            secrets=workspace.secrets,
            retention=workspace.retention,
            **{name: value for name, value in given.items() if value is not None},
        )
        if manager.options.worker_concurrency == 0:
            manager.shutdown(timeout=0)
            raise typer.BadParameter(
                "A worker needs a place for a run at least (KNEO_SERV_WORKER_CONCURRENCY is 0).",
                param_hint="--concurrency",
            )
        return manager

    if not work(options, make_manager=make_manager, tell=show):
        warn("Runs that needed longer were handed back; another worker goes on with them.")
