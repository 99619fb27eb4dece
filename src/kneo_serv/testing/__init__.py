"""The shipped test kit for users of the platform."""
