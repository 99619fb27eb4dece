"""Keeping of journals: one contract, several databases behind it."""
