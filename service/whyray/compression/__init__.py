"""Lossless compression of results on their way out, in a process of its own: `CompressionProcess`.

`lossless` does the work and knows pixels; who only orders it need not load that.
"""

from whyray.compression.process import CompressionProcess

__all__ = ["CompressionProcess"]
