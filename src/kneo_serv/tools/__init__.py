"""Tools: their definitions, the registry and the guard around each call."""
