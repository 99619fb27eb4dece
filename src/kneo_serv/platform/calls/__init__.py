"""The calls of PlatformManager, by noun."""
