"""A service that answers the commands, over HTTP."""
