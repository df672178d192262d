"""rella-cpp: how likely is a user to like an item? A GGUF language model on this machine reads the history and says."""

from lazy_loader import attach_stub

__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)  # the names: __init__.pyi
