"""The sub-commands of `whyray`. Each imports what it needs when it runs, so that `--help` is quick."""
