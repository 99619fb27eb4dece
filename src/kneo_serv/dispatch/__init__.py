"""Spreading of work: who executes which run."""

from kneo_serv.dispatch.embedded import EmbeddedDispatcher

__all__ = ["EmbeddedDispatcher"]
