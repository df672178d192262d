"""A run's figures with intervals, in words, beside other runs, and as a page."""
