"""`python -m whyray`."""

from whyray.cli.entry import main

main()
