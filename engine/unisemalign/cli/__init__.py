"""The command line: the verbs of the loop. What is heavy is imported by the verbs that need it."""

from unisemalign.cli.starting import main

__all__ = ["main"]
