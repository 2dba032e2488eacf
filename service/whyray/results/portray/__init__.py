"""Explanations that are not heatmaps, as rows of the report and figures of pages; one file a kind."""

from whyray.results.portray import anatomy, cases, concepts, counterfactual, language, latent, units
from whyray.results.portray.portrayal import Figure, Look, Plain, Portrayal, Row, grey, portray, portrays

PORTRAYERS = (anatomy, cases, concepts, counterfactual, language, latent, units)
"""Modules whose import registers portrayers."""

__all__ = ["PORTRAYERS", "Figure", "Look", "Plain", "Portrayal", "Row", "grey", "portray", "portrays"]
