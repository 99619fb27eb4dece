"""Models: runtimes and providers that answer for an agent."""

from kneo_serv.runtime.adapters import AdapterRuntime
from kneo_serv.runtime.bridge import create_bridge_runtime
from kneo_serv.runtime.defaults import default_registry
from kneo_serv.runtime.dummy import DummyRuntime
from kneo_serv.runtime.protocol import ProviderFactory, ProviderProbe, Runtime, RuntimeFactory
from kneo_serv.runtime.registry import RuntimeRegistry
from kneo_serv.runtime.retry import RetryPolicy

__all__ = [
    "AdapterRuntime",
    "DummyRuntime",
    "ProviderFactory",
    "ProviderProbe",
    "RetryPolicy",
    "Runtime",
    "RuntimeFactory",
    "RuntimeRegistry",
    "create_bridge_runtime",
    "default_registry",
]
