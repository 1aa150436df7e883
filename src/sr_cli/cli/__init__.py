"""The command line: one file a command. Each parses, calls the core and prints."""

from sr_cli.cli.app import app

__all__ = ["app"]
