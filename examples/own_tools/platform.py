"""A platform of one's own: `--factory examples.own_tools.platform:build_platform` uses it instead of the usual one."""

from examples.own_tools.directory import register
from kneo_serv.platform import PlatformManager, PlatformOptions
from kneo_serv.service.factory import create_persistence_stores, create_runtime_registry, create_tool_registry
from kneo_serv.spec import SpecCompiler


def build_platform() -> PlatformManager:
    """A platform without the example tools, and with attempts that are tried again after a time-out."""
    tools = create_tool_registry(include_examples=False)
    register(tools)
    runs, continuations = create_persistence_stores()
    return PlatformManager(
        compiler=SpecCompiler(runtime_registry=create_runtime_registry(), tool_registry=tools),
        run_state_store=runs,
        continuation_store=continuations,
        options=PlatformOptions(retry_on_timeout=True),
    )
