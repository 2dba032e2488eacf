"""The running service: its context, roles, supervisor, schedule and embedded Redis."""
