"""Nouns of the platform: frozen values without input, output or a clock."""
