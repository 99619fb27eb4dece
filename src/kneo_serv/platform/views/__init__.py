"""What callers see of a run: pure folds of its journal and its row into JSON values, without I/O.

The events are the public ones, so nothing in here sees a secret.
"""

from kneo_serv.platform.views.audit import audit_view
from kneo_serv.platform.views.checkpoint import Checkpoint, checkpoints
from kneo_serv.platform.views.difference import checkpoint_diff
from kneo_serv.platform.views.light import LightEvent, RunFacts, light_event
from kneo_serv.platform.views.recovery import recovery_context, replay_view
from kneo_serv.platform.views.run import run_view, usage_view
from kneo_serv.platform.views.schedule import schedule_view
from kneo_serv.platform.views.story import Story
from kneo_serv.platform.views.task import pause_metadata, request_view, task_view, thread_view
from kneo_serv.platform.views.trace import LiveTrace, trace_events

__all__ = [
    "Checkpoint",
    "LightEvent",
    "LiveTrace",
    "RunFacts",
    "Story",
    "audit_view",
    "checkpoint_diff",
    "checkpoints",
    "light_event",
    "pause_metadata",
    "recovery_context",
    "replay_view",
    "request_view",
    "run_view",
    "schedule_view",
    "task_view",
    "thread_view",
    "trace_events",
    "usage_view",
]
