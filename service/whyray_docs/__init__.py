"""Writes the pages of docs/ that follow from the code; nothing at run time imports it."""
