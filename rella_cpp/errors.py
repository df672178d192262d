"""The error tree.

RellaError
├── InputError        something the user gave is wrong (exit code 2)
│   ├── GGUFError     a file is no usable GGUF model or adapter
│   └── ContextError  a prompt does not fit the context, and nothing in it may be left out
└── EngineError       llama.cpp failed at run time, or cannot do what is asked (exit code 1)

A programmer's wrong argument stays `ValueError` or `TypeError`.
"""

from rella_gguf.errors import GGUFError, InputError, RellaError

__all__ = ["ContextError", "EngineError", "GGUFError", "InputError", "RellaError"]


class ContextError(InputError):
    """A prompt does not fit the context, and nothing in it may be left out."""


class EngineError(RellaError):
    """llama.cpp failed at run time, or the installed llama-cpp-python cannot do what is asked."""
