"""WhyRay: the service beside the PACS that answers *why*. Not for diagnostic use."""

__version__ = "0.1.0"
