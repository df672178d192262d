"""The versions that an artifact records: of this project and the libraries that its figures depend on."""

from importlib.metadata import version

_LIBRARIES = ("rella-cpp", "llama-cpp-python", "scikit-learn", "usearch")


def library_versions() -> dict[str, str]:
    """Return version by distribution name."""
    return {name: version(name) for name in _LIBRARIES}
