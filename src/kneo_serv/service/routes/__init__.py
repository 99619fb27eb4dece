"""The routes, one module for each noun."""

from fastapi import APIRouter

from kneo_serv.service.routes import health

ROUTERS: tuple[APIRouter, ...] = (health.router,)
"""All that is served at the root and under /v1."""
