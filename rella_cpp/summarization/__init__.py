"""LLM-TRSR (arXiv 2403.13325): a language model writes down, block by block, what a person prefers."""
