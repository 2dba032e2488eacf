"""The demo: an embedded PACS, sample studies, the whole path on them, and what came back."""
