"""`python -m whyray`."""

from whyray.cli.main import main

main()
