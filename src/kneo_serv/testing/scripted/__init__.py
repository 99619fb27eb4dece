"""A scripted provider: what models say, written down, for tests of specs, tools and middleware."""

from kneo_serv.testing.scripted.platform import ScriptedPlatform
from kneo_serv.testing.scripted.provider import PROVIDER, ScriptedProvider, no_waiting, scripted_registry
from kneo_serv.testing.scripted.script import (
    ANYBODY,
    Fault,
    Per,
    Script,
    ScriptedCall,
    ScriptedTurn,
    ScriptSource,
    as_script,
    call,
    fail,
    say,
)

__all__ = [
    "ANYBODY",
    "PROVIDER",
    "Fault",
    "Per",
    "Script",
    "ScriptSource",
    "ScriptedCall",
    "ScriptedPlatform",
    "ScriptedProvider",
    "ScriptedTurn",
    "as_script",
    "call",
    "fail",
    "no_waiting",
    "say",
    "scripted_registry",
]
