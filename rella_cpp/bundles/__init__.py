"""Bundles: one folder that is a recommender, with its model, what it was tuned with, its wording and its reading."""
