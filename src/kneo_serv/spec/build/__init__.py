"""From a checked spec to a plan, one module for each noun."""
