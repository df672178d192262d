"""How fast a model is on this machine, against what llama.cpp itself does with the same tokens."""
