import gc
import os
from pathlib import Path

import numpy as np
import pytest
from commands import run_python
from lora_files import normal, tensor_bytes, write_pairs, write_tensors

from rella_gguf import (
    InputError,
    TensorInfo,
    check_model,
    merge_adapters,
    read_header,
)
from rella_gguf.rewrite import Rewrite
from rella_gguf.weights import ggml_type

Files = dict[str, Path]
Q = "blk.0.attn_q.weight"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("merges")
    ok, wide = (normal(2, 256), normal(8, 2)), (normal(2, 32), normal(8, 2))
    nan = (normal(2, 256), np.full((8, 2), np.nan, np.float32))
    odd = (normal(256, 2), normal(8, 2))
    huge = (np.full((2, 256), 300, np.float32), np.full((8, 2), 300, np.float32))
    base = write_tensors(
        folder / "base.gguf", {Q: ("Q8_0", normal(8, 256)), "token_embd.weight": ("F32", normal(8, 256))}
    )
    scaled = {Q: ("F32", normal(8, 256)), "blk.0.attn_q.scale": ("F32", normal(1, 4))}
    infinite = normal(8, 256)
    infinite[3, 4] = np.inf
    made = {
        "base": base,
        "inf": write_tensors(folder / "inf.gguf", {Q: ("F32", infinite)}),
        "scaled": write_tensors(folder / "scaled.gguf", scaled),
        "ok": write_pairs(folder / "ok.gguf", {Q: ok}),
        "wide": write_pairs(folder / "wide.gguf", {Q: wide}),
        "nan": write_pairs(folder / "nan.gguf", {Q: nan}),
        "huge": write_pairs(folder / "huge.gguf", {Q: huge}),
        "odd": write_pairs(folder / "odd.gguf", {Q: odd}),
        "half": write_pairs(folder / "half.gguf", {Q: ok}, more={"blk.0.attn_v.weight.lora_b": normal(8, 2)}),
        "strange": write_pairs(folder / "strange.gguf", {Q: ok}, more={"x.bias": normal(8)}),
        "rank0": write_pairs(folder / "rank0.gguf", {Q: (normal(0, 256), normal(8, 0))}),
        "none": folder / "none.gguf",
    }
    iq2 = Rewrite.of(read_header(base), [TensorInfo(Q, (256, 8), int(ggml_type("IQ2_XXS")), 0)])
    (folder / "iq2.gguf").write_bytes(iq2.header({}) + bytes(iq2.data_bytes))
    (folder / "cut.gguf").write_bytes(made["ok"].read_bytes()[:-100])
    (folder / "cutbase.gguf").write_bytes(base.read_bytes()[:-100])
    (folder / "taken.gguf.part").symlink_to("ok.gguf")
    (folder / "link.gguf").symlink_to("base.gguf")
    os.link(made["ok"], folder / "twin.gguf")
    return made | {name: folder / f"{name}.gguf" for name in ("iq2", "cut", "cutbase", "link", "twin")}


BAD: list[tuple[str, list[tuple[str, float]], str, str, str]] = [
    ("none", [("ok", 1)], "out", "keep", r"none\.gguf: no such file"),
    ("ok", [("ok", 1)], "out", "keep", r"ok\.gguf: is an adapter, not a base model"),
    ("cutbase", [("ok", 1)], "out", "keep", r"cutbase\.gguf: has .* truncated"),
    ("base", [], "out", "keep", "there is no adapter"),
    ("base", [("none", 1)], "out", "keep", r"none\.gguf: no such file"),
    ("base", [("base", 1)], "out", "keep", r"base\.gguf: is a full model, not a LoRA adapter"),
    ("base", [("cut", 1)], "out", "keep", r"cut\.gguf: has .* truncated"),
    ("base", [("wide", 1)], "out", "keep", r"wide\.gguf: .*attn_q.* width of 32, the model's .* has 256"),
    ("base", [("odd", 1)], "out", "keep", r"odd\.gguf: .*no pair"),
    ("base", [("rank0", 1)], "out", "keep", r"rank0\.gguf: .*"),
    ("base", [("half", 1)], "out", "keep", r"half\.gguf: has one matrix of the pair for blk\.0\.attn_v\.weight"),
    ("base", [("strange", 1)], "out", "keep", r"strange\.gguf: holds x\.bias, which is no part"),
    ("base", [("ok", float("inf"))], "out", "keep", r"ok\.gguf: the scale is inf"),
    ("base", [("ok", float("nan"))], "out", "keep", r"ok\.gguf: the scale is nan"),
    ("base", [("ok", 1), ("twin", 2)], "out", "keep", r"twin\.gguf: is named twice"),
    ("base", [("ok", 1)], "base", "keep", r"base\.gguf: is one of the inputs"),
    ("base", [("ok", 1)], "link", "keep", r"link\.gguf: is one of the inputs"),
    ("link", [("ok", 1)], "base", "keep", r"base\.gguf: is one of the inputs"),
    ("base", [("ok", 1)], "ok", "keep", r"ok\.gguf: is one of the inputs"),
    ("base", [("ok", 1)], "twin", "keep", r"twin\.gguf: is one of the inputs"),
    ("base", [("ok", 1)], "taken", "keep", r"taken\.gguf\.part: is one of the inputs"),
    ("base", [("ok", 1)], "out", "Q3_K", r"the type is 'Q3_K'; one of keep, F32"),
    ("base", [("ok", 1)], "x-00001-of-00002", "keep", "has the name of a part of a split model"),
    ("base", [("ok", 1)], "none/out", "keep", "make its folder first"),
    ("base", [("nan", 1)], "out", "keep", "what the adapters add: not all are finite"),
    ("inf", [("ok", 1)], "out", "keep", "its weights: not all are finite"),
    ("base", [("huge", 1)], "out", "F16", "the merged weights are too large for F16; choose another type"),
    ("base", [("huge", 1e4)], "out", "Q4_K", "the merged weights are too large for Q4_K"),
    ("scaled", [("ok", 1)], "out", "keep", r"has the scale blk\.0\.attn_q\.scale beside it"),
    ("iq2", [("ok", 1)], "out", "keep", r"iq2\.gguf: .* IQ2_XXS, which cannot be put back .* --type, such as Q4_K"),
]


@pytest.mark.parametrize(("base", "adapters", "out", "kind", "said"), BAD)
def test_what_cannot_be_merged_is_refused_and_nothing_is_left(
    files: Files, base: str, adapters: list[tuple[str, float]], out: str, kind: str, said: str
) -> None:
    folder = files["base"].parent
    before = {path: path.read_bytes() for path in folder.iterdir()}
    named = [(files[name], scale) for name, scale in adapters]
    with pytest.raises(InputError, match=said) as caught:
        merge_adapters(files[base], named, folder / f"{out}.gguf", type=kind, force=True)
    assert len(str(caught.value).splitlines()) == 1 and caught.value.remedy
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_type_for_the_imatrix_types_is_accepted(files: Files, tmp_path: Path) -> None:
    (change,) = merge_adapters(files["iq2"], [(files["ok"], 1)], tmp_path / "m.gguf", type="Q4_K").changes
    assert (change.before, change.after) == ("IQ2_XXS", "Q4_K")


def test_an_existing_output_is_kept_unless_forced(files: Files, tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    out.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        merge_adapters(files["base"], [(files["ok"], 1)], out)
    assert out.read_text() == "mine"
    merge_adapters(files["base"], [(files["ok"], 1)], out, force=True)
    check_model(out)


def test_an_interruption_leaves_nothing(files: Files, tmp_path: Path) -> None:
    def interrupt(_task: str, _done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge_adapters(files["base"], [(files["ok"], 1)], tmp_path / "m.gguf", progress=interrupt)
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_leaves_nothing(files: Files, tmp_path: Path) -> None:
    # The limit on a file's size stands for a full disk: writing fails in the middle.
    pytest.importorskip("resource")
    code = (
        "import resource, sys; from rella_gguf import InputError, merge_adapters\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: merge_adapters(sys.argv[1], [(sys.argv[2], 1)], sys.argv[3])\n"
        "except InputError as error: print(error)"
    )
    said = run_python(code, files["base"], files["ok"], tmp_path / "m.gguf")
    assert "m.gguf: cannot be written (File too large)" in said and list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_said_at_once(files: Files, tmp_path: Path) -> None:
    # A sparse base of 4 TiB: more than the disk of a machine that runs tests has free.
    tensors = [TensorInfo(Q, (256, 8), 0, 0), TensorInfo("a.weight", (4096, 2**28), 0, 0)]
    rewrite = Rewrite.of(read_header(files["base"]), tensors)
    base = tmp_path / "b.gguf"
    base.write_bytes(rewrite.header({}))
    try:
        os.truncate(base, base.stat().st_size + rewrite.data_bytes)
    except OSError:
        pytest.skip("no file of 4 TiB can be here")
    with pytest.raises(InputError, match=r"m\.gguf: needs 4,398,0.. MB, and the disk has .* MB left"):
        merge_adapters(base, [(files["ok"], 1)], tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == [base]


def test_an_adapter_of_no_scale_does_no_harm(files: Files, tmp_path: Path) -> None:
    merge_adapters(files["base"], [(files["ok"], 1), (files["nan"], 0)], tmp_path / "m.gguf")
    merge_adapters(files["base"], [(files["ok"], 1)], tmp_path / "n.gguf")
    assert tensor_bytes(tmp_path / "m.gguf") == tensor_bytes(tmp_path / "n.gguf")
