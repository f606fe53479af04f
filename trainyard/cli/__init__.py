"""The command ``trainyard``: one file per group of commands, all of them thin around the client."""

from trainyard.cli.app import app


def main() -> None:
    app(prog_name="trainyard")
