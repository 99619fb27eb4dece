"""The routes, one module for each noun."""

from fastapi import APIRouter

from kneo_serv.service.routes import (
    audit_events,
    events,
    fleet,
    forks,
    health,
    human_tasks,
    journals,
    metrics,
    policies,
    run_views,
    runs,
    schedules,
    security,
    skills,
    specs,
)

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    runs.router,
    run_views.router,
    forks.router,
    schedules.router,
    specs.router,
    skills.router,
    human_tasks.router,
    audit_events.router,
    journals.router,
    events.router,
    security.router,
    policies.router,
    fleet.router,
)
"""All that is served at the root and under /v1."""

METRICS = metrics.router
"""At the root only, and only where metrics are wanted."""
