"""Spreading of work: who executes which run."""

from kneo_serv.dispatch.embedded import EmbeddedDispatcher
from kneo_serv.dispatch.protocol import Dispatcher, DispatcherFactory

__all__ = ["Dispatcher", "DispatcherFactory", "EmbeddedDispatcher"]
