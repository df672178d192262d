"""Tell a model that can judge, one that writes the next token, from what GGUF files hold besides."""

from rella_gguf.checks import tensor_shapes
from rella_gguf.errors import GGUFError
from rella_gguf.header import Header
from rella_gguf.hyperparameters import check_hyperparameters
from rella_gguf.vocabularies import check_vocabulary

_KINDS = {
    "an embedding model": (
        "bert modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert gemma-embedding "
        "llama-embed t5encoder"
    ),
    "a diffusion model": "dream llada llada-moe rnd1",
    "a drafter, which guesses for another model": "eagle3 dflash gemma4-assistant",
    "an image encoder": "clip",
    "a model of sound": "wavtokenizer-dec pockettts qwen3tts",
}
"""What is no language model that answers, though the metadata need not say so: by its architectures."""
_NO_POOLING = (None, 0, -1, 2**32 - 1)  # absent, LLAMA_POOLING_TYPE_NONE, unspecified
_RANKING = 4  # LLAMA_POOLING_TYPE_RANK
_REMEDY = "give a chat model"


def check_judge(header: Header) -> None:
    """Check that a model, as its header tells, is a language model that answers, and that llama.cpp survives it.

    Raises
    ------
    GGUFError
        It is an embedding model, a classifier or the like; it has no usable vocabulary; its numbers cannot be.

    """
    kind = what_it_is(header)
    if kind:
        raise GGUFError(
            f"is {kind} ({header.architecture}), no language model that answers", source=header.path, remedy=_REMEDY
        )
    check_vocabulary(header)
    check_hyperparameters(header)


def what_it_is(header: Header) -> str:
    """Name what a model is instead of a language model that answers; empty where it is one."""
    arch = header.architecture
    pooling = header.integer(f"{arch}.pooling_type")
    classifies = any(name.split(".")[0] == "cls" for name in tensor_shapes(header))
    if classifies or pooling == _RANKING or f"{arch}.classifier.output_labels" in header.metadata:
        return "a classifier"
    for kind, architectures in _KINDS.items():
        if arch in architectures.split():
            return kind
    if pooling not in _NO_POOLING or header.metadata.get(f"{arch}.attention.causal") is False:
        return "an embedding model"
    return ""
