"""Soft prompts: rows of input embeddings that were trained in the place of words."""
