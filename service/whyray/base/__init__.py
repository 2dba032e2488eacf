"""What every other room may import: errors, identity, retry with back-off. It imports no room of WhyRay."""
