"""Trainers with PyTorch and PEFT: of adapters (`python -m rella_train.lora`) and soft prompts (`….soft_prompt`).

They need nothing of rella: copy this folder to where the GPU is.
"""
