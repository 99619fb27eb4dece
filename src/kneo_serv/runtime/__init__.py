"""Models: runtimes and providers that answer for an agent."""
