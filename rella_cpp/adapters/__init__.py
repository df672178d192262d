"""What is trained and put beside a model: LoRA adapters and soft prompts, and the record of what they were tuned on."""
