import json
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from commands import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from lora_files import Array, normal, tensor_bytes, weights_of, write_pairs, write_tensors
from tiny_model import Shape, spm_vocab, write_adapter, write_model

from rella_cpp import Engine, EngineSettings
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.segments import Prompt
from rella_gguf import (
    TensorInfo,
    check_model,
    merge_adapters,
    plan_merge,
    read_header,
    shard_paths,
)
from rella_gguf.rewrite import Rewrite
from rella_gguf.weights import ggml_type

F32 = EngineSettings(kv_type="f32", flash_attn="off", threads=1)
SHAPE = Shape()
Q = "blk.0.attn_q.weight"
PROMPT = Prompt((np.asarray((30, 31, 32, 33), dtype=np.int32),))


def logits(model: Path, *adapters: Adapter) -> Array:
    with Engine.from_gguf(model, F32) as engine:
        (found,) = engine.logits([PROMPT], adapters)
    return np.asarray(found[-1])


def every_pair(seed: int, rank: int = 3) -> dict[str, tuple[Array, Array]]:
    """Pairs for every matrix of the tiny model; those of the embeddings stand the other way round."""
    vocab, e = len(spm_vocab().tokens), SHAPE.embd
    shapes = {"output.weight": (vocab, e)}
    for i in range(SHAPE.layers):
        for name, rows, width in (
            *(("attn_q", e, e), ("attn_k", SHAPE.kv, e), ("attn_v", SHAPE.kv, e), ("attn_output", e, e)),
            *(("ffn_gate", SHAPE.ff, e), ("ffn_up", SHAPE.ff, e), ("ffn_down", e, SHAPE.ff)),
        ):
            shapes[f"blk.{i}.{name}.weight"] = rows, width
    pairs = {
        name: (normal(rank, width, seed=seed + n, size=0.2), normal(rows, rank, seed=seed - n, size=0.2))
        for n, (name, (rows, width)) in enumerate(shapes.items(), 100)
    }
    return pairs | {"token_embd.weight": (normal(vocab, rank, seed=seed), normal(e, rank, seed=seed + 1, size=0.2))}


def test_a_merged_model_is_the_base_with_its_adapters(spm_model: Path, tmp_path: Path) -> None:
    # llama.cpp applies the adapters at run time in its own way, on every matrix, embeddings and output included.
    first = write_pairs(tmp_path / "a.gguf", every_pair(300))
    second = write_pairs(tmp_path / "b.gguf", every_pair(900, rank=2), alpha=0.0)  # no alpha: the scale alone
    third = write_adapter(tmp_path / "c.gguf")  # only queries and values
    scales = (0.7, -0.3, 0.2)
    done = merge_adapters(spm_model, zip((first, second, third), scales, strict=True), tmp_path / "m.gguf")
    wanted = logits(spm_model, *(Adapter(p, s) for p, s in zip((first, second, third), scales, strict=True)))
    np.testing.assert_allclose(logits(tmp_path / "m.gguf"), wanted, atol=1e-4)
    assert np.abs(wanted - logits(spm_model)).max() > 0.1  # they do change it
    assert len(done.changes) == 16 and done.copied == 5 and done.bytes == (tmp_path / "m.gguf").stat().st_size


def test_what_no_adapter_touches_is_copied_byte_for_byte(any_model: Path, adapter: Path, tmp_path: Path) -> None:
    done = merge_adapters(any_model, [(adapter, 1.0)], tmp_path / "m.gguf")
    base, merged = tensor_bytes(any_model), tensor_bytes(tmp_path / "m.gguf")
    changed = {change.tensor for change in done.changes}
    assert changed == {f"blk.{i}.attn_{x}.weight" for i in range(2) for x in "qv"}
    assert {name for name in base if base[name] != merged[name]} == changed and list(base) == list(merged)
    before, after = read_header(any_model), read_header(tmp_path / "m.gguf")
    assert after.metadata == before.metadata | {"rella.merged": after.text("rella.merged")}
    check_model(tmp_path / "m.gguf")


@settings(deadline=None, max_examples=80)
@given(
    kind=st.sampled_from(["F32", "F16", "BF16", "Q8_0"]),
    rows=st.integers(1, 40),
    blocks=st.integers(1, 3),
    ranks=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    scales=st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3),
    embedding=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_sums_are_numpys(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    rows: int,
    blocks: int,
    ranks: list[int],
    scales: list[float],
    embedding: bool,
    seed: int,
) -> None:
    folder, width, name = tmp_path_factory.mktemp("sums"), 32 * blocks, "token_embd.weight" if embedding else Q
    tensors = {name: (kind, normal(rows, width, seed=seed)), "output.weight": ("F32", normal(2, 32))}
    base = write_tensors(folder / "b.gguf", tensors)
    want = weights_of(base, name).astype(np.float64)
    adapters = []
    for n, rank in enumerate(ranks):
        a, b = normal(rank, width, seed=seed + n), normal(rows, rank, seed=seed - n + 5000)
        pair = (b, np.ascontiguousarray(a.T)) if embedding else (a, b)
        adapters.append((write_pairs(folder / f"{n}.gguf", {name: pair}, alpha=4.0), scales[n]))
        want += scales[n] * 4 / rank * b.astype(np.float64) @ a
    merge_adapters(base, adapters, folder / "m.gguf")
    got = weights_of(folder / "m.gguf", name)
    # Half a step of the type; Q8_0's step is a 127th of the largest of 32 weights, itself kept in half precision.
    largest = np.abs(want).reshape(rows, -1, 32).max(axis=2).repeat(32, axis=1)
    step = {"F32": 0, "F16": np.abs(want) * 2**-11, "BF16": np.abs(want) * 2**-8, "Q8_0": largest * (0.51 / 127 + 5e-4)}
    assert (np.abs(got - want) <= step[kind] + 1e-4).all()


def test_rows_to_which_nothing_is_added_keep_their_bytes(tmp_path: Path) -> None:
    # Q3_K, read and written again, is not what it was in one row of ten: a row that stays can only have been copied.
    base = write_tensors(tmp_path / "b.gguf", {Q: ("Q3_K", normal(32, 256))})
    b = normal(32, 2, seed=1)
    b[::2] = 0
    merge_adapters(base, [(write_pairs(tmp_path / "a.gguf", {Q: (normal(2, 256), b)}), 1)], tmp_path / "m.gguf")
    before, after = (
        np.frombuffer(tensor_bytes(path)[Q][2], np.uint8).reshape(32, -1) for path in (base, tmp_path / "m.gguf")
    )
    assert [bool((x == y).all()) for x, y in zip(before, after, strict=True)] == [True, False] * 16


def test_a_scale_of_nothing_copies_everything(spm_model: Path, adapter: Path, tmp_path: Path) -> None:
    done = merge_adapters(spm_model, [(adapter, 0.0)], tmp_path / "m.gguf")
    assert tensor_bytes(tmp_path / "m.gguf") == tensor_bytes(spm_model)
    assert done.changes == () and done.notes == ("adapter.gguf has the scale 0: it changes nothing",)


def test_the_result_is_the_same_whatever_the_threads(tmp_path: Path) -> None:
    # Three blocks of rows in one tensor: they are ready out of order, and have to go to the file in order.
    weights = normal(600, 4096, size=0.1)
    base = write_tensors(tmp_path / "b.gguf", {Q: ("Q4_0", weights), "x.weight": ("Q8_0", normal(8, 32))})
    adapter = write_pairs(tmp_path / "a.gguf", {Q: (normal(4, 4096, size=0.1), normal(600, 4, size=0.1))})
    files = []
    for threads in (1, 2, 5):
        seen: list[tuple[int, int]] = []

        def note(_task: str, done: int, total: int, seen: list[tuple[int, int]] = seen) -> None:
            seen.append((done, total))

        out = tmp_path / f"{threads}.gguf"
        merge_adapters(base, [(adapter, 1)], out, threads=threads, progress=note)
        files.append(out.read_bytes())
        assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]
    assert files[0] == files[1] == files[2]


@pytest.mark.parametrize(
    ("kind", "width", "wanted", "after", "noted"),
    [
        ("Q4_0", 256, "keep", "Q4_0", ""),
        ("IQ4_NL", 256, "keep", "IQ4_NL", "IQ4_NL) are quantised without an importance matrix"),
        ("Q6_K", 256, "F16", "F16", ""),
        ("F16", 256, "Q4_K", "Q4_K", ""),
        ("Q2_K", 256, "Q6_K", "Q6_K", ""),
        ("F32", 96, "Q4_K", "Q5_0", "1 of 1 tensors become Q5_0: their rows are no multiple of Q4_K's blocks"),
        ("BF16", 96, "Q6_K", "Q8_0", "become Q8_0"),
        ("F32", 20, "Q4_0", "F16", "become F16"),
        ("Q3_K", 256, "F32", "F32", ""),
    ],
)
def test_types(tmp_path: Path, kind: str, width: int, wanted: str, after: str, noted: str) -> None:
    # The fallbacks are llama-quantize's. An error bound of a tenth tells any of these types from a wrong one.
    base = write_tensors(tmp_path / "b.gguf", {Q: (kind, normal(4, width)), "k.weight": ("F32", normal(4, 4))})
    a, b = normal(2, width), normal(4, 2)
    done = merge_adapters(
        base, [(write_pairs(tmp_path / "a.gguf", {Q: (a, b)}, alpha=2), 1)], tmp_path / "m.gguf", type=wanted
    )
    (change,) = done.changes
    assert (change.before, change.after, tensor_bytes(tmp_path / "m.gguf")[Q][0]) == (kind, after, after)
    assert noted in " ".join(done.notes) and bool(noted) == bool(done.notes)
    want, got = weights_of(base, Q) + b @ a, weights_of(tmp_path / "m.gguf", Q)
    assert np.linalg.norm(got - want) < 0.1 * np.linalg.norm(want)
    assert change.relative_change == pytest.approx(np.linalg.norm(b @ a) / np.linalg.norm(weights_of(base, Q)), 1e-4)
    along = float(np.vdot(got - weights_of(base, Q), b @ a) / np.vdot(b @ a, b @ a))
    assert change.kept == pytest.approx(along, rel=1e-3, abs=1e-3)
    assert change.rounding == pytest.approx(np.linalg.norm(got - want) / np.linalg.norm(b @ a), rel=1e-2, abs=1e-6)


def test_an_imatrix_of_the_base_is_missed(tmp_path: Path) -> None:
    base = write_tensors(
        tmp_path / "b.gguf", {Q: ("Q4_K", normal(4, 256))}, texts={"quantize.imatrix.file": "imatrix.dat"}
    )
    adapter = write_pairs(tmp_path / "a.gguf", {Q: (normal(2, 256), normal(4, 2))})
    assert "was quantised with an importance matrix" in plan_merge(base, [(adapter, 1)]).notes[0]


def test_drowned_changes_are_said(tmp_path: Path) -> None:
    base = write_tensors(tmp_path / "b.gguf", {Q: ("Q4_0", normal(64, 256))})
    adapter = write_pairs(tmp_path / "a.gguf", {Q: (normal(2, 256), normal(64, 2))})
    (note,) = merge_adapters(base, [(adapter, 1e-3)], tmp_path / "m.gguf").notes
    assert "in 1 of the tensors changed, rounding to Q4_0 keeps only part of what the adapters add" in note
    assert "--type Q8_0 or F16 keeps more" in note
    assert merge_adapters(base, [(adapter, 1e-3)], tmp_path / "n.gguf", type="F32").notes == ()


def test_the_experts_of_a_mixture_have_matrices_of_their_own(tmp_path: Path) -> None:
    name = "blk.0.ffn_up_exps.weight"
    weights, a, b = normal(3, 8, 32), normal(3, 2, 32), normal(3, 8, 2)
    base = write_tensors(tmp_path / "b.gguf", {name: ("F32", weights)})
    merge_adapters(base, [(write_pairs(tmp_path / "a.gguf", {name: (a, b)}, alpha=2), 1)], tmp_path / "m.gguf")
    np.testing.assert_allclose(weights_of(tmp_path / "m.gguf", name), (weights + b @ a).reshape(24, 32), atol=1e-5)


def test_a_split_base_becomes_one_file(tmp_path: Path) -> None:
    whole = write_model(tmp_path / "whole.gguf")
    first = write_model(tmp_path / "split.gguf", tensors_a_file=6)
    adapter = write_adapter(tmp_path / "a.gguf")
    for base, out in ((whole, "one.gguf"), (first, "other.gguf")):
        merge_adapters(base, [(adapter, 1.0)], tmp_path / out)
    assert len(shard_paths(first)) > 2
    assert tensor_bytes(tmp_path / "one.gguf") == tensor_bytes(tmp_path / "other.gguf")
    one, other = (read_header(tmp_path / name) for name in ("one.gguf", "other.gguf"))
    assert one.metadata.keys() == other.metadata.keys() and not [key for key in other.metadata if "split" in key]
    # The base's digest is what `Cache.fingerprint` gives for a split model.
    digests = "".join(sha256(part.read_bytes()).hexdigest() for part in shard_paths(first))
    (merged,) = json.loads(other.text("rella.merged"))
    assert merged["base"]["sha256"] == sha256(digests.encode()).hexdigest()


def test_the_metadata_tells_what_was_merged(spm_model: Path, tmp_path: Path) -> None:
    record = json.dumps({"epochs": 3, "titel": "ä"})
    first = write_pairs(tmp_path / "a.gguf", {Q: (normal(2, 16), normal(16, 2))}, record=record)
    second = write_adapter(tmp_path / "b.gguf")
    merge_adapters(spm_model, [(first, 0.5)], tmp_path / "m.gguf")
    merge_adapters(tmp_path / "m.gguf", [(first, 1), (second, -1)], tmp_path / "n.gguf", type="F16")
    once, twice = (json.loads(read_header(tmp_path / name).text("rella.merged")) for name in ("m.gguf", "n.gguf"))
    assert twice[0] == once[0] and len(twice) == 2
    for merge, base, adapters in ((once[0], spm_model, [first]), (twice[1], tmp_path / "m.gguf", [first, second])):
        assert merge["base"] == {
            "name": "Tiny",
            "file": base.name,
            "sha256": sha256(base.read_bytes()).hexdigest(),
        }
        assert [a["sha256"] for a in merge["adapters"]] == [sha256(a.read_bytes()).hexdigest() for a in adapters]
    assert [(a["file"], a["scale"], a.get("record")) for a in twice[1]["adapters"]] == [
        ("a.gguf", 1, json.loads(record)),
        ("b.gguf", -1, None),
    ]
    assert twice[1]["type"] == "F16"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_memory_does_not_grow_with_the_file(spm_model: Path, tmp_path: Path) -> None:
    # 192 MB, a third of it one tensor that is changed: 90 MB more than before is less than either held in memory.
    shapes = {Q: (4096, 4096), "a.weight": (4096, 8192), "b.weight": (4096, 1)}
    tensors = [TensorInfo(name, shape, int(ggml_type("F32")), 0) for name, shape in shapes.items()]
    rewrite = Rewrite.of(read_header(spm_model), tensors)
    base = tmp_path / "sparse.gguf"
    base.write_bytes(rewrite.header({}))
    os.truncate(base, base.stat().st_size + rewrite.data_bytes)
    adapter = write_pairs(tmp_path / "a.gguf", {Q: (normal(4, 4096), normal(4096, 4))})
    code = (
        "import sys, gguf.quants, threadpoolctl; from rella_gguf import merge_adapters\n"
        "def peak(): return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) // 1024\n"
        "before = peak(); merge_adapters(sys.argv[1], [(sys.argv[2], 1)], sys.argv[3], threads=2)\n"
        "print(peak() - before)"
    )
    assert int(run_python(code, base, adapter, tmp_path / "m.gguf")) < 90
    assert (tmp_path / "m.gguf").stat().st_size > 190e6
