"""The terminal door: the command kneo."""
