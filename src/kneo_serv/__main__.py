"""Entry point of `python -m kneo_serv`, the same command as `kneo`."""

from kneo_serv.cli.main import app

if __name__ == "__main__":
    app()
