import dataclasses
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from peft_folder import soft_embeddings, write_peft, write_soft
from tiny_model import Shape, Weights, random_weights, spm_vocab, write_adapter, write_model, write_vocabulary_only

from rella_cpp import Engine, EngineSettings
from rella_cpp.engine.segments import Prompt
from rella_gguf import (
    GGUFError,
    InputError,
    check_adapter,
    check_model,
    check_soft_prompt,
    convert_adapter,
    convert_soft_prompt,
    inspect,
    read_header,
    read_soft_prompt,
)
from rella_gguf.soft.conversion import OTHER_TYPES
from rella_gguf.soft.prompts import PLAIN, SCALED, SoftPrompt, write_soft_prompt

F32 = EngineSettings(kv_type="f32", flash_attn="off", threads=1, exact=True)
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
matrices = arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=finite)
RECORD = {"data": "ml-1m", "base": {"name": "tiny.gguf", "fingerprint": "a" * 64}}


@pytest.fixture
def soft(tmp_path: Path, spm_model: Path) -> Path:
    convert_soft_prompt(write_soft(tmp_path / "peft"), tmp_path / "s.gguf", base=spm_model)
    return tmp_path / "s.gguf"


def rewritten(path: Path, change: Callable[[SoftPrompt], SoftPrompt]) -> Path:
    """Write a soft prompt that no conversion writes."""
    write_soft_prompt(change(dataclasses.replace(read_soft_prompt(path), path=path.with_name("r.gguf"))), "r")
    return path.with_name("r.gguf")


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING"])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_every_number_is_the_one_that_peft_saved(tmp_path: Path, spm_model: Path, kind: str, dtype: str) -> None:
    # Narrowed first where it is saved narrow: widening is exact, so the file must hold the very same bits.
    rows = soft_embeddings(7)
    if dtype == "BF16":
        rows = (rows.view(np.uint32) & 0xFFFF0000).view(np.float32)
    elif dtype == "F16":
        rows = rows.astype(np.float16).astype(np.float32)
    folder = write_soft(
        tmp_path / "mine", tokens=7, kind=kind, dtype=dtype, tensors={"prompt_embeddings": rows}, encoder_hidden_size=16
    )
    done = convert_soft_prompt(folder, tmp_path / "s.gguf", base=spm_model, at="marker")
    assert (done.kind, done.tokens, done.width, done.at, done.base, done.notes) == (kind, 7, 16, "marker", "Tiny", ())
    read = read_soft_prompt(tmp_path / "s.gguf")
    assert read.embeddings.dtype == np.float32 and read.embeddings.tobytes() == rows.tobytes()
    assert (read.tokens, read.width, read.at, read.record) == (7, 16, "marker", None)
    digest = sha256(spm_model.read_bytes()).hexdigest()
    assert (read.architecture, read.base_name, read.base_sha256) == ("llama", "Tiny", digest)
    # By the format's own library: one matrix, and what it says of itself.
    (tensor,) = gguf.GGUFReader(tmp_path / "s.gguf").tensors
    assert (tensor.name, tensor.data.tobytes()) == ("soft_prompt.weight", rows.tobytes())
    header = read_header(tmp_path / "s.gguf")
    assert (header.kind, header.text("general.name"), header.integer("rella.soft.tokens")) == ("soft_prompt", "mine", 7)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = write_soft(tmp_path / "mine")
    (folder / "rella.json").write_text(json.dumps(RECORD))
    for name in ("a.gguf", "b.gguf"):
        convert_soft_prompt(folder, tmp_path / name)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


def test_without_a_base_the_record_tells_else_nothing_is_known(tmp_path: Path) -> None:
    folder, out = write_soft(tmp_path / "mine"), tmp_path / "s.gguf"
    done, read = convert_soft_prompt(folder, out), read_soft_prompt(out)
    assert (done.base, done.architecture, done.record) == ("tiny/base", None, None)
    assert len(done.notes) == 2 and "is not known" in done.notes[1]
    assert (read.architecture, read.base_name, read.base_sha256) == (None, "tiny/base", None)
    write_soft(folder, base_model_name_or_path=None)
    assert convert_soft_prompt(folder, out, force=True).base is None
    (folder / "rella.json").write_text(json.dumps(RECORD))
    done, read = convert_soft_prompt(folder, out, force=True), read_soft_prompt(out)
    assert (done.record, read.record) == (RECORD, RECORD)
    assert (read.base_name, read.base_sha256) == ("tiny.gguf", "a" * 64)
    assert len(done.notes) == 1


def test_a_record_of_another_base_gets_a_note(tmp_path: Path, spm_model: Path) -> None:
    folder, out = write_soft(tmp_path / "mine", odd_key=1), tmp_path / "s.gguf"
    (folder / "rella.json").write_text(json.dumps(RECORD))
    notes = convert_soft_prompt(folder, out, base=spm_model).notes
    assert "odd_key" in notes[0] and "another model than tiny-spm.gguf (aaaaaaaaaaaa)" in notes[1]
    digest = sha256(spm_model.read_bytes()).hexdigest()
    assert read_soft_prompt(out).base_sha256 == digest
    (folder / "rella.json").write_text(json.dumps({"base": {"fingerprint": digest}}))
    assert len(convert_soft_prompt(folder, out, base=spm_model, force=True).notes) == 1


def test_a_split_base_is_recorded_by_the_fingerprint_of_its_parts(tmp_path: Path) -> None:
    first = write_model(tmp_path / "m.gguf", tensors_a_file=9)
    parts = sorted(tmp_path.glob("m-*.gguf"))
    convert_soft_prompt(write_soft(tmp_path / "mine"), tmp_path / "s.gguf", base=first)
    digests = "".join(sha256(part.read_bytes()).hexdigest() for part in parts)
    assert len(parts) > 1
    assert read_soft_prompt(tmp_path / "s.gguf").base_sha256 == sha256(digests.encode()).hexdigest()


def pickled(folder: Path) -> Path:
    weights = write_soft(folder) / "adapter_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    return folder


def shortened(folder: Path) -> Path:
    weights = write_soft(folder) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    return folder


ROWS = soft_embeddings()
FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "lora": (write_peft, "adapter_config.json: is a LoRA adapter .*LORA.*; rella lora convert converts it"),
    **{
        kind: (lambda path, kind=kind: write_soft(path, kind=kind), f"{finding} .*{kind}")  # type: ignore[misc]
        for kind, (finding, _) in OTHER_TYPES.items()
        if kind != "LORA"
    },
    "ia3": (lambda path: write_soft(path, kind="IA3"), "is no soft prompt .*IA3.*; PROMPT_TUNING and P_TUNING are"),
    "no type": (lambda path: write_soft(path, peft_type=None), "has no peft_type"),
    "no tokens": (lambda path: write_soft(path, num_virtual_tokens=None), "has no num_virtual_tokens"),
    "no width": (lambda path: write_soft(path, token_dim=None), "has no token_dim"),
    "zero": (lambda path: write_soft(path, num_virtual_tokens=0), "num_virtual_tokens: is 0; it is a whole number"),
    "true": (lambda path: write_soft(path, token_dim=True), "token_dim: is True"),
    "text": (lambda path: write_soft(path, token_dim="16"), "token_dim: is '16'"),
    "two": (lambda path: write_soft(path, num_transformer_submodules=2), "num_transformer_submodules: is 2: a prompt"),
    "fewer": (lambda path: write_soft(path, num_virtual_tokens=9), r"is 5 × 16, where adapter_config.json says 9 × 16"),
    "flat": (
        lambda path: write_soft(path, tensors={"prompt_embeddings": ROWS.reshape(-1)}),
        "prompt_embeddings is 80, where",
    ),
    "nan": (
        lambda path: write_soft(path, tensors={"prompt_embeddings": ROWS * np.float32("nan")}),
        "safetensors, prompt_embeddings: holds numbers that are not finite",
    ),
    "f64": (lambda path: write_soft(path, dtype="F64"), "prompt_embeddings: has the type F64"),
    "other": (lambda path: write_soft(path, tensors={"a": ROWS}), "holds a, and no prompt_embeddings"),
    "none": (lambda path: write_soft(path, tensors={}), "holds nothing, and no prompt_embeddings"),
    "more": (
        lambda path: write_soft(path, tensors={"prompt_embeddings": ROWS, "head": ROWS}),
        "head: is saved beside the prompt",
    ),
    "pickle": (pickled, "adapter_model.bin: is a pickle, which can run any code"),
    "cut": (shortened, "adapter_model.safetensors: is damaged or truncated"),
    "wide": (lambda path: write_soft(path, width=32), "is made for a width of 32, the model's embeddings have 16"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_hold_no_such_prompt_are_refused_in_one_line(tmp_path: Path, spm_model: Path, case: str) -> None:
    write, finding = FOLDERS[case]
    with pytest.raises(InputError, match=finding) as caught:
        convert_soft_prompt(write(tmp_path / "mine"), tmp_path / "s.gguf", base=spm_model)
    assert str(tmp_path / "mine") in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]  # nothing, nor half of it, was written


def test_lora_convert_says_what_such_a_folder_is(tmp_path: Path, spm_model: Path) -> None:
    with pytest.raises(InputError, match="of the type PROMPT_TUNING; it is a soft prompt: rella soft convert"):
        convert_adapter(write_soft(tmp_path / "mine"), tmp_path / "a.gguf", base=spm_model)


def test_outputs_are_neither_overwritten_nor_inputs(tmp_path: Path, soft: Path) -> None:
    folder, before = tmp_path / "peft", soft.read_bytes()
    for out, force, finding in (
        (soft, False, "is there already"),
        (folder / "adapter_model.safetensors", True, "is one of the inputs"),
        (tmp_path / "x-00001-of-00002.gguf", False, "has the name of a part"),
    ):
        with pytest.raises(InputError, match=finding):
            convert_soft_prompt(folder, out, force=force)
    with pytest.raises(InputError, match="the place of a soft prompt is 'end'; it is start or marker"):
        convert_soft_prompt(folder, tmp_path / "t.gguf", at="end")
    with pytest.raises(InputError, match="is a soft prompt, not a model"):
        convert_soft_prompt(folder, tmp_path / "t.gguf", base=soft)
    assert soft.read_bytes() == before


def test_other_files_are_refused_by_what_they_are(tmp_path: Path, spm_model: Path, adapter: Path) -> None:
    for path, finding in (
        (spm_model, "is a full model, not a soft prompt; give it with --model"),
        (adapter, "is an adapter, not a soft prompt; give it with --lora"),
        (write_vocabulary_only(tmp_path / "v.gguf"), "of the kind vocabulary, not a soft prompt"),
        (tmp_path / "missing.gguf", "no such file"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(GGUFError, match=finding):
            read_soft_prompt(path)


def test_a_soft_prompt_is_no_model_and_no_adapter(soft: Path, spm_model: Path) -> None:
    with pytest.raises(GGUFError, match="is a soft prompt, not a model; .*goes with --soft"):
        check_model(soft)
    with pytest.raises(GGUFError, match="is a soft prompt, not a LoRA adapter; give it with --soft"):
        check_adapter(soft, read_header(spm_model))
    found = inspect(soft)
    assert found.kind == "soft_prompt" and found.lora is None and found.soft is not None
    assert (found.soft.tokens, found.soft.width, found.soft.at, found.soft.base) == (5, 16, "start", "Tiny")
    assert inspect(spm_model).soft is None


def test_damage_is_found(soft: Path) -> None:
    for change, finding in (
        ({"at": "end"}, "its rella.soft.at is 'end'; it is start or marker"),
        ({"base_sha256": "0"}, "its rella.soft.base.sha256 is no SHA-256"),
        ({"embeddings": ROWS * np.float32("inf")}, "holds numbers that are not finite"),
        ({"embeddings": np.zeros((0, 16), np.float32)}, "F32 of 0 × 16"),
        ({"embeddings": np.zeros((2, 3, 4), np.float32)}, "F32 of 2 × 3 × 4"),
        ({"embeddings": ROWS.astype(np.float16)}, "F16 of 5 × 16"),
    ):
        path = rewritten(soft, lambda prompt, change=change: dataclasses.replace(prompt, **change))  # type: ignore[misc]
        with pytest.raises(GGUFError, match=finding):
            read_soft_prompt(path)
    for before, after in ((b"soft_prompt.weight", b"soft_prompt.weighs"), (b"rella.soft.tokens", b"rella.soft.tokenz")):
        data = soft.read_bytes()
        assert before in data
        soft.with_name("d.gguf").write_bytes(data.replace(before, after))
        with pytest.raises(GGUFError, match="soft_prompt.weigh|rella.soft.tokens is None"):
            read_soft_prompt(soft.with_name("d.gguf"))


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_cut_or_changed_anywhere_a_file_reads_or_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    # Any other exception would reach the user as a traceback.
    folder = tmp_path_factory.mktemp("soft")
    (folder / "x").mkdir()
    convert_soft_prompt(write_soft(folder / "x"), folder / "s.gguf")
    whole = (folder / "s.gguf").read_bytes()
    end = data.draw(st.integers(0, len(whole) - 1))
    (folder / "cut.gguf").write_bytes(whole[:end])
    with pytest.raises(GGUFError):
        read_soft_prompt(folder / "cut.gguf")
    changed = bytearray(whole)
    for place in data.draw(st.lists(st.integers(4, len(whole) - 1), min_size=1, max_size=4)):
        changed[place] = data.draw(st.integers(0, 255))
    (folder / "changed.gguf").write_bytes(bytes(changed))
    try:
        read = read_soft_prompt(folder / "changed.gguf")
    except InputError:
        return
    assert read.embeddings.ndim == 2 and np.isfinite(read.embeddings).all()


@settings(deadline=None, max_examples=20)
@given(
    rows=matrices,
    at=st.sampled_from(["start", "marker"]),
    name=st.text(max_size=20),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: npt.NDArray[np.float32], at: str, name: str
) -> None:
    path = tmp_path_factory.mktemp("soft") / "s.gguf"
    write_soft_prompt(SoftPrompt(path, rows, at, None, name or None, None, {"name": name}), name)
    read = read_soft_prompt(path)
    assert read.embeddings.tobytes() == rows.tobytes() and read.embeddings.shape == rows.shape
    assert (read.at, read.record) == (at, {"name": name})


def test_a_prompt_fits_a_model_by_architecture_and_width(tmp_path: Path, soft: Path, spm_model: Path) -> None:
    prompt, header = read_soft_prompt(soft), read_header(spm_model)
    check_soft_prompt(prompt, header)
    for given_, model, finding in (
        (
            prompt,
            write_model(tmp_path / "w.gguf", shape=Shape(embd=32)),
            "s.gguf: is made for a width of 16, .* have 32",
        ),
        (
            dataclasses.replace(prompt, architecture="qwen2"),
            spm_model,
            "s.gguf: was made for the architecture qwen2, the model is llama",
        ),
        (prompt, write_adapter(tmp_path / "g.gguf", arch="gemma3"), "architecture gemma3, which scales its input emb"),
        (prompt, write_adapter(tmp_path / "b.gguf", arch="bert"), "architecture bert, in which they are not tested"),
    ):
        with pytest.raises(InputError, match=finding):
            check_soft_prompt(given_, read_header(model))
    with pytest.raises(InputError, match="^--soft: "):
        check_soft_prompt(prompt, read_header(tmp_path / "b.gguf"), source="--soft")
    assert not set(PLAIN) & set(SCALED)


def weights_of(arch: str, shape: Shape) -> Weights:
    """Weights by the names of an architecture whose layers are a Llama's but for some matrices."""
    weights = random_weights(len(spm_vocab().tokens), shape, seed=3)
    for layer in range(shape.layers):
        block, size = f"blk.{layer}.", shape.embd // shape.heads
        if arch == "phi3":
            weights[f"{block}attn_qkv.weight"] = np.concatenate([weights.pop(f"{block}attn_{x}.weight") for x in "qkv"])
            weights[f"{block}ffn_up.weight"] = np.concatenate(
                [weights.pop(f"{block}ffn_{x}.weight") for x in ("gate", "up")]
            )
        if arch in ("qwen3", "gemma3"):
            weights |= {f"{block}attn_{x}_norm.weight": np.ones(size, np.float32) for x in "qk"}
        if arch == "gemma3":
            names = ("post_attention_norm", "post_ffw_norm")
            weights |= {f"{block}{name}.weight": np.ones(shape.embd, np.float32) for name in names}
    return weights


@pytest.mark.parametrize("arch", [*PLAIN, "gemma3"])
def test_embeddings_are_taken_as_they_are(tmp_path: Path, arch: str) -> None:
    # Rows of token_embd in the place of their tokens are the same prompt, bit for bit, unless a factor stands between;
    # gemma3 has one, which shows that the comparison sees it.
    shape = Shape(embd=32, layers=5)
    weights = weights_of(arch, shape)
    path = write_model(tmp_path / "m.gguf", arch=arch, shape=shape, weights=weights)
    tokens = np.asarray([1, 300, 290, 7, 310, 305, 299, 333, 12], dtype=np.int32)
    with Engine.from_gguf(path, F32) as engine:
        for first in (0, 3):
            before, words, after = np.split(tokens, [first, first + 4])
            rows: npt.NDArray[np.float32] = weights["token_embd.weight"][words]
            head = (before,) if first else ()
            (expected,) = engine.logits([Prompt((*head, words, after))])
            (found,) = engine.logits([Prompt((*head, rows, after))])
            assert np.array_equal(found, expected) is (arch in PLAIN)
            assert np.ptp(expected) > 0.1


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    folder = write_soft(tmp_path / "prompt")
    (folder / "adapter_model.safetensors").unlink()
    os.mkfifo(folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match="is a pipe"):
        convert_soft_prompt(folder, tmp_path / "s.gguf")
