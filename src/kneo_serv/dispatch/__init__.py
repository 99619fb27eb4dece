"""Spreading of work: who executes which run."""
