"""The only room of this package that touches llama_cpp: find a model, load it, tokenize, decode, embed, generate.

A prompt comes in as segments of tokens or embeddings; logits, hidden states or tokens come out. What prompts begin
with is decoded once (`plan`, `tree`). Nothing here knows what an item or a user is.
"""
