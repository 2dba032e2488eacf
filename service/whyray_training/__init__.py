"""How the bundled packages were made; in the repository, not in the wheel."""
