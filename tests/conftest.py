import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from look_alikes import ml_1m, random_ratings, write_files
from scripted import Scripted
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import Cache, DataSet, Engine, EngineSettings, ItemIndex, Rella, build_index, load_domain, prepare


@pytest.fixture(scope="session", autouse=True)
def shared_verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Each model is tried once a session, whatever cache a test has."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("state")
        patch.setenv("RELLA_STATE", str(folder))
        yield folder


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
def exact_engine(spm_model: Path) -> Iterator[Engine]:
    with Engine.from_gguf(spm_model, EngineSettings(exact=True)) as engine:
        yield engine


@pytest.fixture
def any_engine(any_model: Path) -> Iterator[Engine]:
    with Engine.from_gguf(any_model) as engine:
        yield engine


@pytest.fixture
def rella(any_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(any_model, cache=Cache(None)) as rella:
        yield rella


@pytest.fixture(scope="session")
def roomy_model(models: Path) -> Path:
    """A tiny model with a context of 4096, in which real prompts fit."""
    return write_model(models / "roomy.gguf", shape=Shape(ctx=4096))


@pytest.fixture(scope="session")
def small_data(models: Path) -> DataSet:
    """A look-alike of MovieLens-1M: 60 users, 30 movies, some 900 ratings; some users and movies are liked more."""
    ratings = [
        replace(rating, rating=(int(rating.rating) + rating.user % 5 + rating.item % 5 + 3) // 3)
        for rating in random_ratings(seed=3, users=60, movies=30, most=28)
    ]
    files = ml_1m(ratings, movies=30, users=60)
    return prepare("ml-1m", write_files(models / "ml-1m.zip", files), models / "small")


@pytest.fixture(scope="session")
def sparse_data(models: Path) -> DataSet:
    """A look-alike of MovieLens-1M: 150 users with at most 14 of 35 movies; five more nobody rated."""
    files = ml_1m(random_ratings(seed=7, users=150, movies=35, most=14), movies=40, users=150)
    return prepare("ml-1m", write_files(models / "sparse.zip", files), models / "sparse")


@pytest.fixture
def judge(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as judge:
        yield judge


@pytest.fixture
def exact_judge(roomy_model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(roomy_model, cache=Cache(None), exact=True) as judge:
        yield judge


@pytest.fixture
def small_index(judge: Rella, small_data: DataSet, tmp_path: Path) -> ItemIndex:
    return build_index(judge.vectors, small_data.all_items(), tmp_path / "index")


@pytest.fixture
def scripted(roomy_model: Path) -> Iterator[Scripted]:
    with Scripted.from_gguf(roomy_model) as engine:
        yield engine


@pytest.fixture
def teller(scripted: Scripted) -> Rella:
    return Rella(scripted, load_domain("movies"), chat_format="chatml", cache=Cache(None))


@pytest.fixture
def listening(caplog: pytest.LogCaptureFixture) -> None:
    """Hear what the library says, not only what it warns of."""
    caplog.set_level(logging.INFO, "rella_cpp")
