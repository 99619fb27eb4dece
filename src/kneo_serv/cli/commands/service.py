"""`kneo service`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kneo_serv.cli.options import Factory, Tools
from kneo_serv.cli.process_options import EnvFile, LogFormat, LogLevel, chosen, take_env_file
from kneo_serv.cli.terminal import show, show_json
from kneo_serv.cli.workspace import open_workspace

if TYPE_CHECKING:
    from kneo_serv.platform import PlatformManager

service_app = typer.Typer(name="service", no_args_is_help=True, help="Serve the platform over HTTP.")


@service_app.command("serve")
def serve(
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Port; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes; on SQLite there is one.")] = 1,
    proxy_headers: Annotated[
        bool, typer.Option("--proxy-headers", help="Believe X-Forwarded-For and -Proto of the proxies named next.")
    ] = False,
    forwarded_allow_ips: Annotated[
        str, typer.Option("--forwarded-allow-ips", metavar="LIST", help="Addresses of proxies; * is all.")
    ] = "127.0.0.1",
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="The prefix that a proxy takes away.")
    ] = "",
    env_file: EnvFile = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    ssl_keyfile: Annotated[
        Path | None, typer.Option("--ssl-keyfile", metavar="PATH", help="Private key, to serve HTTPS.")
    ] = None,
    ssl_certfile: Annotated[
        Path | None, typer.Option("--ssl-certfile", metavar="PATH", help="Certificate, to serve HTTPS.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others than this machine call without a key.")
    ] = False,
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Execute runs here too, or leave all to `kneo worker`.")
    ] = True,
    tools: Tools = None,
    factory: Factory = None,
) -> None:
    """Serve until SIGTERM or Ctrl+C. Runs in hand finish then, or are handed back to be taken up later."""
    take_env_file(env_file)

    from kneo_serv.service.factory import create_platform_manager
    from kneo_serv.service.serve import ServeOptions, serve

    options = ServeOptions(
        host=host,
        port=port,
        workers=workers,
        proxy_headers=proxy_headers,
        forwarded_allow_ips=forwarded_allow_ips,
        root_path=root_path,
        log_format=chosen("--log-format", "log_format", log_format),
        log_level=chosen("--log-level", "log_level", log_level),
        ssl_keyfile=ssl_keyfile,
        ssl_certfile=ssl_certfile,
        insecure=insecure,
    )
    workspace = open_workspace(tools=tools, factory=factory)

    def make_manager() -> "PlatformManager":
        alone: dict[str, Any] = {} if worker else {"worker_concurrency": 0}
        manager = create_platform_manager(
            workspace.code,
            state_path=workspace.state_path,
            secrets=workspace.secrets,
            retention=workspace.retention,
            **alone,
        )
        manager.start_worker()
        return manager

    serve(options, make_manager=make_manager, tell=show)


@service_app.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the service."""
    from kneo_serv.service.app import create_app
    from kneo_serv.service.auth import AuthConfig

    show_json(create_app(auth_config=AuthConfig.disabled()).openapi())


@service_app.command("hash-key")
def hash_key() -> None:
    """Read an API key from standard input, and print the digest that may stand for it in a file of keys."""
    import sys

    from kneo_serv.service.auth.keys import write_digest

    key = sys.stdin.readline().strip()
    if not key:
        raise typer.BadParameter("send the key on the first line of standard input.")
    show(write_digest(key))
