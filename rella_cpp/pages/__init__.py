"""HTML pages: one file with all it needs inside, nothing to fetch."""
