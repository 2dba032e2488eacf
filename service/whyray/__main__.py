"""`python -m whyray`."""

from whyray.cli import main

main()
