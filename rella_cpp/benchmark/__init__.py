"""How fast a model is on this machine, against llama.cpp itself, and which quantization to take."""
