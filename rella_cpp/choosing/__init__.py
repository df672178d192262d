"""Choosing: which of some candidates comes next in a person's history (DELRec, arXiv 2406.11156)."""
