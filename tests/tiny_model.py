"""Writes real GGUF files of a few kilobytes: a random Llama with a SentencePiece or a byte-level vocabulary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.float32]]

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CONTROLS = ("<|im_start|>", "<|im_end|>")
TURN = "[TURN]"  # a frame's mark that is no control token but a user-defined one, as some conversions have it
WORDS = ("Yes", "No", "▁Yes", "▁No", "▁the", "er", "▁m", "ov", "ie", "▁movie", "▁mov", "movie", "▁a", "th", "he")


@dataclass(frozen=True)
class Shape:
    """Sizes of the tiny model; every one small, heads grouped so that key and query sizes differ."""

    embd: int = 16
    heads: int = 4
    heads_kv: int = 2
    ff: int = 32
    layers: int = 2
    ctx: int = 512

    @property
    def kv(self) -> int:
        return self.embd // self.heads * self.heads_kv


@dataclass(frozen=True)
class Vocab:
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)


def spm_vocab() -> Vocab:
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *CONTROLS, TURN]
    types = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256, *[kinds.CONTROL] * 2, kinds.USER_DEFINED]
    letters = ["▁", *(chr(c) for c in range(33, 127))]
    pairs = ["Ye", "es", "mo", "▁t", "vie"]
    words = [*letters, *dict.fromkeys([*pairs, *WORDS])]
    scores = [0.0] * len(tokens) + [-100.0] * len(letters) + [-float(i + 1) for i in range(len(words) - len(letters))]
    return Vocab(tokens + words, [int(t) for t in types] + [int(kinds.NORMAL)] * len(words), scores)


def bpe_vocab() -> Vocab:
    kinds = gguf.TokenType
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [b for b in range(256) if b not in visible]
    bytes_ = [chr(b) for b in visible] + [chr(256 + i) for i in range(len(hidden))]
    merges = ["Y e", "Ye s", "N o", "Ġ Yes", "Ġ No", "m o", "mo v", "i e", "mov ie", "Ġ movie", "t h", "th e"]
    merged = [m.replace(" ", "") for m in merges]
    tokens = ["<|endoftext|>", *CONTROLS, TURN, *bytes_, *merged]
    types = [kinds.CONTROL] * 3 + [kinds.USER_DEFINED] + [kinds.NORMAL] * (len(bytes_) + len(merged))
    return Vocab(tokens, [int(t) for t in types], merges=merges)


def with_tokens(vocab: Vocab, texts: Sequence[str], kind: gguf.TokenType) -> Vocab:
    """Return a vocabulary with more tokens of one kind."""
    scores = [*vocab.scores, *[0.0] * len(texts)] if vocab.scores else []
    return Vocab([*vocab.tokens, *texts], [*vocab.types, *[int(kind)] * len(texts)], scores, vocab.merges)


def random_weights(n_vocab: int, shape: Shape, seed: int) -> Weights:
    """Weights by their GGUF names, in numpy order (rows = outputs), queries and keys not yet permuted."""
    random = np.random.default_rng(seed)

    def matrix(rows: int, columns: int) -> npt.NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * 0.25).astype(np.float32)

    weights = {"token_embd.weight": matrix(n_vocab, shape.embd), "output.weight": matrix(n_vocab, shape.embd)}
    weights["output_norm.weight"] = np.ones(shape.embd, np.float32)
    for i in range(shape.layers):
        weights[f"blk.{i}.attn_norm.weight"] = (1 + matrix(1, shape.embd)[0]).astype(np.float32)
        weights[f"blk.{i}.attn_q.weight"] = matrix(shape.embd, shape.embd)
        weights[f"blk.{i}.attn_k.weight"] = matrix(shape.kv, shape.embd)
        weights[f"blk.{i}.attn_v.weight"] = matrix(shape.kv, shape.embd)
        weights[f"blk.{i}.attn_output.weight"] = matrix(shape.embd, shape.embd)
        weights[f"blk.{i}.ffn_norm.weight"] = np.ones(shape.embd, np.float32)
        weights[f"blk.{i}.ffn_gate.weight"] = matrix(shape.ff, shape.embd)
        weights[f"blk.{i}.ffn_up.weight"] = matrix(shape.ff, shape.embd)
        weights[f"blk.{i}.ffn_down.weight"] = matrix(shape.embd, shape.ff)
    return weights


def permute(matrix: npt.NDArray[np.float32], heads: int) -> npt.NDArray[np.float32]:
    """Bring rows of a query or key matrix into llama.cpp's order (RoPE pairs side by side)."""
    rows, columns = matrix.shape
    return matrix.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_model(
    path: Path,
    *,
    tokenizer: str = "spm",
    shape: Shape | None = None,
    seed: int = 0,
    name: str = "Tiny",
    template: str | None = CHATML,
    weights: Weights | None = None,
    tensors_a_file: int = 0,
    arch: str = "llama",
    vocab: Vocab | None = None,
    change: Callable[[gguf.GGUFWriter], object] | None = None,
) -> Path:
    """Write a whole model; `weights` instead of random ones, which are a Llama's. Returns `path`.

    With `tensors_a_file` it is split into files NAME-0000N-of-0000M.gguf; the first one's path is returned. `change`
    gets the writer when all metadata are in it. `vocab` stands in the place of the tokenizer's own.
    """
    shape = shape or Shape()
    vocab = vocab or (spm_vocab() if tokenizer == "spm" else bpe_vocab())
    writer = gguf.GGUFWriter(path, arch, split_max_tensors=tensors_a_file)
    writer.add_name(name)
    writer.add_type("model")
    writer.add_context_length(shape.ctx)
    writer.add_embedding_length(shape.embd)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ff)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads_kv)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.embd // shape.heads)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    write_vocab(writer, vocab, tokenizer)
    if template is not None:
        writer.add_chat_template(template)
    if change is not None:
        change(writer)
    for key, value in (weights or random_weights(len(vocab.tokens), shape, seed)).items():
        heads = shape.heads if "attn_q." in key else shape.heads_kv if "attn_k." in key else 0
        writer.add_tensor(key, permute(value, heads) if heads else value)
    finish(writer)
    return next(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if tensors_a_file else path


def write_vocab(writer: gguf.GGUFWriter, vocab: Vocab, tokenizer: str) -> None:
    writer.add_tokenizer_model("llama" if tokenizer == "spm" else "gpt2")
    writer.add_token_list(vocab.tokens)
    writer.add_token_types(vocab.types)
    if tokenizer == "spm":
        writer.add_token_scores(vocab.scores)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
    else:
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(vocab.merges)
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(2)
        writer.add_add_bos_token(False)


def write_adapter(path: Path, *, shape: Shape | None = None, rank: int = 2, seed: int = 1, arch: str = "llama") -> Path:
    """Write a LoRA adapter for every query and value matrix. Returns `path`."""
    shape = shape or Shape()
    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, arch)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * rank)
    for i in range(shape.layers):
        for name, rows in (("attn_q", shape.embd), ("attn_v", shape.kv)):
            for side, size in (("a", (rank, shape.embd)), ("b", (rows, rank))):
                data = random.standard_normal(size).astype(np.float32)
                writer.add_tensor(f"blk.{i}.{name}.weight.lora_{side}", data)
    finish(writer)
    return path


def write_vocabulary_only(path: Path) -> Path:
    """Write a GGUF that holds a tokenizer and no weights. Returns `path`."""
    writer = gguf.GGUFWriter(path, "llama")
    write_vocab(writer, spm_vocab(), "spm")
    finish(writer)
    return path


def metadata(writer: gguf.GGUFWriter, **values: Any) -> None:
    """Give metadata other values, of the type that gguf takes them for; None takes the key out. `__` stands for a dot.

    Whole numbers become uint32, as llama.cpp wants them.
    """
    for name, value in values.items():
        key = name.replace("__", ".")
        writer.kv_data[0].pop(key, None)
        if isinstance(value, list):
            writer.add_array(key, value)
        elif value is not None:
            kinds = gguf.GGUFValueType
            kind = kinds.UINT32 if type(value) is int else kinds.get_type(value)
            writer.add_key_value(key, value, kind)


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
