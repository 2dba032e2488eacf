"""How WhyRay names itself in what it sends and makes; the loop guard knows its own results by this."""

from __future__ import annotations

from whyray import __version__

IMPLEMENTATION_CLASS_UID = "2.25.204158843209274417652206498215146219862"
"""Implementation Class UID (PS3.7 section D.3.3.2) of associations and files, and Instance Creator UID of results."""
IMPLEMENTATION_VERSION_NAME = f"WHYRAY_{__version__}"[:16]
"""Implementation Version Name, of at most 16 characters."""
EQUIPMENT_MANUFACTURER = "WhyRay"
"""Manufacturer (0008,0070) of the Contributing Equipment item that every result carries, whatever a site's templates
say."""
EQUIPMENT_MODEL = "WhyRay"
"""Manufacturer's Model Name (0008,1090) of that item begins with this."""
