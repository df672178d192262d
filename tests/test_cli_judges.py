"""Whatever command loads it, a model that cannot judge is refused in a line; what only reads its file goes on."""

from pathlib import Path

import pytest
from commands import Run, runner
from tiny_model import Shape, metadata, write_model

from rella_cpp import DataSet, ItemIndex

EXAMPLES = Path(__file__).parent.parent / "examples"
HISTORY, ITEMS = f"--history {EXAMPLES / 'history.json'}", f"{EXAMPLES / 'items.json'}"


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def embedder(models: Path) -> Path:
    """Give a model that pools what it reads, as embedding models do."""
    return write_model(
        models / "embedder.gguf", shape=Shape(embd=32, ctx=4096), change=lambda w: metadata(w, llama__pooling_type=1)
    )


@pytest.mark.parametrize(
    "command",
    [
        f"score {HISTORY} --item {ITEMS}",
        f"rank {HISTORY} --items {ITEMS}",
        f"rank {HISTORY} --items {ITEMS} --by likelihood",
        f"recommend {HISTORY} --index {{index}}",
        "evaluate {data} --limit 4 -o {out}",
        f"summarize {HISTORY}",
        f"index build {ITEMS} -o {{out}}",
        "index search {index} space",
    ],
)
def test_an_embedding_model_judges_in_no_command(
    rella: Run, embedder: Path, small_data: DataSet, small_index: ItemIndex, tmp_path: Path, command: str
) -> None:
    words = command.format(index=small_index.folder, data=small_data.folder, out=tmp_path / "out").split()
    result = rella(*words, "--model", embedder)
    assert (result.code, result.out) == (2, "") and not (tmp_path / "out").exists()
    assert f"rella: {embedder}: is an embedding model (llama), no language model that answers" in result.err
    assert len(result.err.splitlines()) == 1


def test_its_file_is_inspected_and_quantised(rella: Run, embedder: Path, tmp_path: Path) -> None:
    assert rella("gguf", "inspect", embedder).code == 0
    assert rella("gguf", "quantize", embedder, "-o", tmp_path / "q.gguf", "--type", "Q8_0").code == 0
