"""The HTTP door, and the factory that names concrete backends."""
