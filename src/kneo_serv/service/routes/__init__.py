"""The routes, one module for each noun."""

from fastapi import APIRouter

from kneo_serv.service.routes import health, metrics, run_views, runs, specs

ROUTERS: tuple[APIRouter, ...] = (health.router, runs.router, run_views.router, specs.router)
"""All that is served at the root and under /v1."""

METRICS = metrics.router
"""At the root only, and only where metrics are wanted."""
