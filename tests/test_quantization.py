import hashlib
import os
import resource
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import Shape, random_weights, spm_vocab, write_adapter, write_model, write_vocabulary_only

from rella_cpp import Cache, Engine, Rella, find_model
from rella_cpp.domains.templates.sandbox import SANDBOX
from rella_gguf import GGUFError, InputError, RellaError, read_header
from rella_gguf.file_types import FILE_TYPES, file_type
from rella_gguf.lineage import QUANTIZED_FROM_KEYS
from rella_gguf.quantization import plan, quantize
from rella_gguf.quantizer import parse_line

SHAPE = Shape(embd=64, ff=128)  # rows of 64 and 128 divide into blocks of 32, not of 256
Q = "blk.0.attn_q.weight"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "tiny.gguf", shape=SHAPE)


def weights(path: Path, name: str = Q) -> npt.NDArray[np.float32]:
    (tensor,) = (t for t in gguf.GGUFReader(path).tensors if t.name == name)
    found: npt.NDArray[np.float32] = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    return found


def test_weights_are_rounded_as_ggufs_own_quantiser_does(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    made = quantize(source, tmp_path / "q8.gguf", "q8_0", progress=lambda *step: seen.append(step))
    kinds = gguf.GGMLQuantizationType
    expected = gguf.quants.dequantize(gguf.quants.quantize(weights(source), kinds.Q8_0), kinds.Q8_0)
    assert np.array_equal(weights(tmp_path / "q8.gguf"), expected)
    assert made.type == "Q8_0" and made.notes == () and made.fallbacks == {} and not made.requantized
    assert {group.type: group.tensors for group in made.tensors} == {"Q8_0": 16, "F32": 5} and made.changed == 16
    assert made.bytes == (tmp_path / "q8.gguf").stat().st_size < made.source_bytes == source.stat().st_size
    assert seen[-1] == ("quantising to Q8_0", 21, 21) and [step[1] for step in seen[-21:]] == list(range(1, 22))


def test_the_file_says_what_it_was_made_from_and_loads(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "q4.gguf"
    made = quantize(source, out, "Q4_0", threads=1)
    header = read_header(out)
    # An adapter tuned on the source names its fingerprint: it must be the very one that the cache gives.
    assert header.metadata[QUANTIZED_FROM_KEYS[0]] == made.quantized_from == Cache(None).fingerprint(source)
    rest = {key: value for key, value in header.metadata.items() if not key.startswith(("rella.", "general."))}
    assert rest.items() <= read_header(source).metadata.items()
    with Engine.from_gguf(out) as engine:
        assert engine.n_embd == SHAPE.embd
    assert [file.name for file in tmp_path.iterdir()] == ["q4.gguf"]


def test_a_quantised_source_is_dequantised_and_said_to_gain_nothing(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "q4.gguf", "Q4_0")
    made = quantize(tmp_path / "q4.gguf", tmp_path / "f32.gguf", "F32")
    # A Q4_0 block of 32 has at most 16 values, in float32 as in four bits.
    assert all(len(set(block)) <= 16 for block in weights(tmp_path / "f32.gguf").reshape(-1, 32).tolist())
    assert {group.type for group in made.tensors} == {"F32"} and made.from_type == "Q4_0" and made.requantized
    assert "at most as good" in made.notes[0]
    again = quantize(tmp_path / "f32.gguf", tmp_path / "again.gguf", "F32")
    assert again.changed == 0 and "had the type asked for already" in again.notes[0]


def test_rows_that_fit_no_block_are_counted(source: Path, tmp_path: Path) -> None:
    made = quantize(source, tmp_path / "k.gguf", "Q4_K")
    assert made.type == "Q4_K_M" and made.fallbacks == {"Q5_0": 13, "Q8_0": 2}
    assert {group.type: group.tensors for group in made.tensors} == {"Q5_0": 13, "Q8_0": 3, "F32": 5}
    assert "13 × Q5_0, 2 × Q8_0" in made.notes[0]


@pytest.mark.parametrize("name", ["F16", "Q4_K_M"])
def test_the_plan_is_what_comes_out(source: Path, tmp_path: Path, name: str) -> None:
    planned = plan(source, name)
    made = quantize(source, tmp_path / "out.gguf", name)
    assert planned.types == {t.name: t.type_name for t in read_header(tmp_path / "out.gguf").tensors}
    assert 0 <= made.bytes - planned.bytes < 200  # the file's metadata has one entry more


@given(name=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=63))
def test_a_line_of_llama_cpps_log_is_read_whatever_a_tensor_is_called(name: str) -> None:
    start = f"[ 262/ 272] {name:<36} - [   576,      1,      1,      1], type =   "
    lines = {
        "F32": start + " f32, size =    0.002 MiB",
        "F16": start + "q4_1, converting to f16 .. size =     0.53 MiB ->     1.69 MiB",
        "Q4_0": start + "q4_1, size =     0.53 MiB ->     0.47 MiB (q4_0)",
    }
    for kind, line in lines.items():
        assert parse_line(line) == (262, 272, name.rstrip(" "), kind)


def test_a_split_model_becomes_one_file(tmp_path: Path) -> None:
    values = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    first = write_model(tmp_path / "m.gguf", shape=SHAPE, weights=values, tensors_a_file=10)
    made = quantize(first, tmp_path / "one.gguf", "Q8_0")
    parts = sorted(tmp_path.glob("m-*.gguf"))
    digests = "".join(hashlib.sha256(part.read_bytes()).hexdigest() for part in parts)
    assert made.quantized_from == hashlib.sha256(digests.encode()).hexdigest() == Cache(None).fingerprint(first)
    header = read_header(tmp_path / "one.gguf")
    assert len(header.tensors) == len(values) and not any(key.startswith("split.") for key in header.metadata)


def test_every_type_is_llama_cpps_own_and_found_in_any_case() -> None:
    numbers = {t.name.removeprefix("MOSTLY_").removeprefix("ALL_"): int(t) for t in gguf.LlamaFileType}
    assert all(numbers[found.name] == found.number for found in FILE_TYPES)
    assert file_type("q4_k_m") is file_type("Q4_K") is file_type("Q4_K_M")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Q4_K_X", r"unknown quantisation 'Q4_K_X'; did you mean Q4_K_"),
        ("best", r"unknown quantisation 'best'; there are F32, F16"),
        ("iq2_xxs", "IQ2_XXS needs an importance matrix"),
    ],
)
def test_types_that_cannot_be_are_refused(source: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        quantize(source, tmp_path / "out.gguf", name)


def _link(source: Path, folder: Path) -> Path:
    (folder / "link.gguf").symlink_to(source)
    return folder / "link.gguf"


def _hard_link(source: Path, folder: Path) -> Path:
    os.link(source, folder / "hard.gguf")
    return folder / "hard.gguf"


def _linked_part(source: Path, folder: Path) -> Path:
    (folder / "o.gguf.part").symlink_to(source)
    return folder / "o.gguf"


def _there(_source: Path, folder: Path) -> Path:
    (folder / "o.gguf").write_text("mine")
    return folder / "o.gguf"


@pytest.mark.parametrize(
    ("out", "force", "said"),
    [
        (lambda source, _: source, True, "is one of the inputs"),
        (_link, True, "is one of the inputs"),
        (_hard_link, True, "is one of the inputs"),
        (_linked_part, True, "is one of the inputs"),
        (_there, False, "is there already"),
        (lambda _, folder: folder / "m-00001-of-00002.gguf", False, "name of a part of a split model"),
        (lambda _, folder: folder / "m-00002-of-00002.gguf", False, "name of a part of a split model"),
        (lambda _, folder: folder / "none" / "o.gguf", False, "make its folder first"),
        (lambda _, folder: folder, True, "is a folder"),
    ],
)
def test_outputs_that_cannot_be_are_refused(
    source: Path, tmp_path: Path, out: Callable[[Path, Path], Path], force: bool, said: str
) -> None:
    before, target = source.read_bytes(), out(source, tmp_path)
    with pytest.raises(InputError, match=said):
        quantize(source, target, "Q4_0", force=force)
    assert source.read_bytes() == before


def test_sources_that_are_no_model_are_refused(source: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(source.read_bytes()[:-100])
    odd = tmp_path / "odd.gguf"
    odd.write_bytes(source.read_bytes().replace(b"llama", b"lhama"))
    values = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    values[Q][0, 0] = np.nan
    for path, said in (
        (write_adapter(tmp_path / "a.gguf"), "of the kind adapter"),
        (write_vocabulary_only(tmp_path / "v.gguf"), "of the kind vocabulary"),
        (cut, "truncated"),
        (odd, r"llama\.cpp cannot quantise it \(unknown model architecture: 'lhama'\)"),
        (write_model(tmp_path / "nan.gguf", shape=SHAPE, weights=values), f"tensor '{Q}' has invalid data"),
    ):
        with pytest.raises(GGUFError, match=said) as caught:
            quantize(path, tmp_path / "out.gguf", "Q4_0")
        assert caught.value.source == str(path)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(InputError, match="threads is 0"):
        quantize(source, tmp_path / "out.gguf", "Q4_0", threads=0)


def test_a_file_that_cannot_grow_leaves_nothing(source: Path, tmp_path: Path) -> None:
    # A limit on file sizes, which the process that writes inherits, fails its writes as a full disk would.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, hard))
    try:
        with pytest.raises(InputError, match=r"out\.gguf: cannot be written whole; free space"):
            quantize(source, tmp_path / "out.gguf", "F16")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"out\.gguf: needs 0 MB where 0 MB are free"):
        quantize(source, tmp_path / "out.gguf", "F16")
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing_and_ends_the_process(source: Path, tmp_path: Path) -> None:
    def interrupt(task: str, done: int, _total: int) -> None:
        if task.startswith("quantising") and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(source, tmp_path / "out.gguf", "Q4_0", progress=interrupt)
    assert not list(tmp_path.iterdir())
    SANDBOX.close()  # another test may have started that one
    with pytest.raises(ChildProcessError):  # none is left to wait for
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize(
    ("end", "error", "said"),
    [
        ("os.kill(os.getpid(), 9)", RellaError, "was killed while it quantised: memory may have run out"),
        ("os.write(1, b'x.cpp:1: GGML_ASSERT(n > 0) failed'); os.abort()", GGUFError, r"stopped on it \(x.cpp:1: GGML"),
        ("os.abort()", GGUFError, r"stopped on it \(SIGABRT\)"),
        ("import no_such_module", RellaError, r"cannot quantise \(ModuleNotFoundError: .*\): reinstall it"),
    ],
)
def test_a_process_that_dies_is_one_error(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, error: type[RellaError], said: str
) -> None:
    monkeypatch.setattr("rella_gguf.quantizer._ENTRY", f"import os; {end}")
    with pytest.raises(error, match=said):
        quantize(source, tmp_path / "out.gguf", "Q4_0")
    assert not list(tmp_path.iterdir())


@pytest.mark.model
def test_the_packaged_model_in_q4_0_loads_and_answers(tmp_path: Path) -> None:
    made = quantize(find_model(None), tmp_path / "q4.gguf", "Q4_0")
    assert made.bytes < made.source_bytes and made.fallbacks == {"Q8_0": 1}  # 576 is no multiple of 256
    with Rella.from_gguf(tmp_path / "q4.gguf", cache=Cache(None)) as rella:
        (score,) = rella.rank([{"title": "Heat", "rating": 5}], [{"title": "Alien"}])
    assert 0 < score.probability < 1
