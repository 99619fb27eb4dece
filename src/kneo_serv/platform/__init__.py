"""Use cases: the only room where engine, store, tools and runtimes meet."""

from kneo_serv.platform.manager import PlatformManager
from kneo_serv.platform.options import PlatformOptions

__all__ = ["PlatformManager", "PlatformOptions"]
