"""Adapter mode: a function or a foreign agent of yours answers for an agent of a spec."""

from kneo_serv.runtime.adapters.plain import AdapterRuntime
from kneo_serv.runtime.adapters.reference import ObjectLoader, ReferenceRuntime

__all__ = ["AdapterRuntime", "ObjectLoader", "ReferenceRuntime"]
