from pipeline_site import site

__all__ = ["site"]
