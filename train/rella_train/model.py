"""The base model, its adapter, and the logits at the answers alone, in float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from sklearn.metrics import log_loss, roc_auc_score
from transformers import AutoModelForCausalLM, AutoTokenizer

from rella_train.progress import reason
from rella_train.rows import Answers, Batch

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_base(path: Path, dtype: str) -> tuple[Any, Any]:
    """Load the model, on a GPU if there is one, and its tokenizer."""
    return load_model(path, dtype), load_tokenizer(path)


def load_model(path: Path, dtype: str) -> Any:
    """Load the model, on a GPU if there is one."""
    model = read_base(AutoModelForCausalLM, path, dtype=getattr(torch, dtype), **dequantized(path))
    return model.to("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(path: Path) -> Any:
    """Load the tokenizer alone, which takes less time."""
    return read_base(AutoTokenizer, path)


def read_base(kind: Any, path: Path, **how: Any) -> Any:
    """Let transformers read a GGUF or a folder; refuse what is neither in one line."""
    if not path.exists():
        raise SystemExit(f"{path}: no such file; give --base a GGUF, or a Hugging Face folder")
    if path.is_file() and path.suffix != ".gguf":
        raise SystemExit(f"{path}: is no folder, and its name does not end in .gguf; give --base a GGUF, or a folder")
    source, gguf = (path.parent, {"gguf_file": path.name}) if path.suffix == ".gguf" else (path, {})
    try:
        return kind.from_pretrained(source, **gguf, **how)
    except Exception as error:  # of a damaged file, four libraries raise what they like, Exception itself among it
        said = f"is no model that transformers reads ({reason(error)})"
        raise SystemExit(f"{path}: {said}; give --base a whole GGUF, or a Hugging Face folder") from error


def dequantized(path: Path) -> dict[str, Any]:
    """Ask for plain weights of a GGUF.

    Since 5.2x, transformers else keeps them packed where it finds a kernel (it looks on the hub) and warns that such
    kernels compute in float32; where it finds none it unpacks them, as it always did. Training wants them unpacked.
    So loaded, the packaged model's logits are llama.cpp's of the same file written as F32, to 1e-4.
    """
    import transformers

    if path.suffix != ".gguf" or not hasattr(transformers, "GgufConfig"):
        return {}
    return {"quantization_config": transformers.GgufConfig(gguf_file=path.name, dequantize=True)}


def with_lora(base: Any, given: Any, name: str) -> Any:
    """Put a LoRA adapter on the base."""
    layers = base.config.num_hidden_layers
    first = getattr(given, "layers", 0)
    if not 0 <= first < layers:
        raise SystemExit(f"--layers is {first}; the base has {layers} layers: give 0 to {layers - 1}")
    config = LoraConfig(
        r=given.rank,
        lora_alpha=given.alpha,
        lora_dropout=given.dropout,
        target_modules=ALL_LINEAR if given.targets == ["all-linear"] else given.targets,
        layers_to_transform=list(range(first, layers)) if first else None,
        task_type="CAUSAL_LM",
    )
    try:
        model = get_peft_model(base, config)
    except ValueError as error:  # of names that the base has not, or not as layers that can be adapted
        said = f"--targets {' '.join(given.targets)}: {reason(error)}"
        raise SystemExit(f"{said}; give names such as q_proj v_proj, or all-linear") from None
    model.peft_config["default"].base_model_name_or_path = name  # PEFT puts the GGUF's folder there
    return model


@contextmanager
def answers_only(model: Any, places: Any, tokens: Any = None) -> Iterator[None]:
    """Let the model's last layer give logits at some places alone, in float32, (places, tokens), or of all tokens.

    In bfloat16, logits of 32 to 64 step by a quarter: answers tie, and an AUC on them is noise.
    """
    head = model.get_output_embeddings()

    def forward(hidden: Any) -> Any:
        wanted = hidden.reshape(-1, hidden.shape[-1])[places].float()
        weight, bias = head.weight, head.bias
        if tokens is not None:
            weight, bias = weight[tokens], None if bias is None else bias[tokens]
        with torch.autocast(hidden.device.type, enabled=False):
            return torch.nn.functional.linear(wanted, weight.float(), None if bias is None else bias.float())

    head.forward = forward
    try:
        yield
    finally:
        del head.forward


class Learner:
    """A model that learns from batches, by transformers and autograd."""

    def __init__(self, model: Any, answers: Answers) -> None:
        self.model, self.answers = model, answers
        self.tokens = torch.tensor(answers.tokens, device=model.device)

    def add_gradients(self, batch: Batch) -> float:
        """Add the gradients of a batch's loss: the mean cross entropy of its answers, among all tokens there are."""
        wanted = self.tokens[batch.answers.to(self.model.device)]
        loss = torch.nn.functional.cross_entropy(self.logits(batch), wanted)
        loss.backward()
        return float(loss)

    def answer_logits(self, batch: Batch) -> Any:
        """Return the logits of the answers' tokens before each answer, in float32: (answers, `Answers`)."""
        with torch.no_grad():
            return self.logits(batch, self.tokens)

    def logits(self, batch: Batch, tokens: Any = None) -> Any:
        """Return the logits before each answer, in float32: (answers, vocabulary), or of some tokens alone."""
        model = self.model
        with (
            answers_only(model, batch.before.to(model.device), tokens),
            torch.autocast(model.device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16),
        ):
            return model(input_ids=batch.ids.to(model.device), use_cache=False).logits


def validate(learner: Learner, batches: Iterator[Batch]) -> tuple[float, float]:
    """Return AUC and LogLoss of P(liked): the softmax over the answers, those that mean liked summed."""
    learner.model.eval()
    liked = torch.tensor(learner.answers.liked)
    chances, labels = [], []
    for batch in batches:
        logits = learner.answer_logits(batch).double().cpu()
        chances.append(logits.softmax(1)[:, liked].sum(1))
        labels.append(liked[batch.answers])
    learner.model.train()
    known, said = torch.cat(labels).numpy(), torch.cat(chances)
    if said.isnan().any():
        raise SystemExit("the model gives no numbers any more; begin anew in another folder, with a lower --lr")
    return float(roc_auc_score(known, said.numpy())), float(log_loss(known, said.numpy(), labels=[False, True]))
