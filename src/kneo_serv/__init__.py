"""Kneo Agent Platform: durable agent workflows from a YAML spec, with people in the loop."""

__version__ = "2.0.0"
