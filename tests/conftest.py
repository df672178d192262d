from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_model import write_adapter, write_model

from rella_cpp import Cache, Engine, Rella


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own, and no model from the environment."""
    monkeypatch.setenv("RELLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RELLA_MODEL", raising=False)
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def spm_model(models: Path) -> Path:
    return write_model(models / "tiny-spm.gguf", tokenizer="spm")


@pytest.fixture(scope="session")
def bpe_model(models: Path) -> Path:
    return write_model(models / "tiny-bpe.gguf", tokenizer="bpe")


@pytest.fixture(scope="session", params=["spm", "bpe"])
def any_model(request: pytest.FixtureRequest, models: Path) -> Path:
    path: Path = request.getfixturevalue(f"{request.param}_model")
    return path


@pytest.fixture(scope="session")
def adapter(models: Path) -> Path:
    return write_adapter(models / "adapter.gguf")


@pytest.fixture
def engine(spm_model: Path) -> Iterator[Engine]:
    with Engine.from_gguf(spm_model) as engine:
        yield engine


@pytest.fixture
def any_engine(any_model: Path) -> Iterator[Engine]:
    with Engine.from_gguf(any_model) as engine:
        yield engine


@pytest.fixture
def rella(any_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(any_model, cache=Cache(None)) as rella:
        yield rella
