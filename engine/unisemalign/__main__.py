"""``python -m unisemalign`` is the command line."""

from unisemalign.cli import main

main()
