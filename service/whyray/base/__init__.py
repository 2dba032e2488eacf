"""What every other room may import: errors, identity, statistics, retry with back-off. It imports no room of WhyRay."""
