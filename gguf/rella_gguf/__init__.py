"""The GGUF file format: read, check, inspect, quantize a file; convert adapters and merge them. Loads no model."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # the names: __init__.pyi
