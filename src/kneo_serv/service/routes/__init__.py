"""The routes, one module for each noun."""

from fastapi import APIRouter

from kneo_serv.service.routes import health, metrics

ROUTERS: tuple[APIRouter, ...] = (health.router,)
"""All that is served at the root and under /v1."""

METRICS = metrics.router
"""At the root only, and only where metrics are wanted."""
