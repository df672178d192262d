"""LoRA adapters: from PEFT to GGUF, and from GGUF into a model's weights."""
