"""The rules that a spec of sound shape must keep, one module for each noun."""
