"""The command line: the verbs of the loop. Torch is imported by the verbs that need it only."""

from unisemalign.cli.app import main

__all__ = ["main"]
