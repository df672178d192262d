"""From a history and targets to scores: choose behaviors, fit the prompt, read the logits, say what they mean.

`scorer` answers yes or no for each target (ReLLa), `likelihood` says which of several comes next (DELRec). A request
goes down through retrieval and prompts into the engine, and back once.
"""
