"""Rows to tune a model on (ReiT, LLM-TRSR, DELRec), and heads fitted with no trainer at all.

Each of `reit`, `trsr` and `delrec` is a source of examples; `rows` writes any of them in a trainer's form.
"""
