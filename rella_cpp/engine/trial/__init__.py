"""A model, adapter or soft prompt tried once in a process of its own: where llama.cpp dies, it dies there."""
