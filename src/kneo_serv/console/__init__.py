"""The browser door: static files that speak only to the HTTP interface."""
