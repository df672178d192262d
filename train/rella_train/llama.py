"""Models of the llama architecture with LoRA on a CPU, forward and backward by hand.

What is quicker than transformers with PEFT: q, k and v are one product, as are gate and up, and the adapters' first
matrices go along with them; no weight is cast; attention leaves out what comes later, a block of queries at a time;
fewer passes over what is element-wise, and part of it is computed anew rather than kept; nothing is computed backward
below the lowest adapted layer. Each row of a step is computed by itself, in a thread of its own: it stays in a core's
cache, and threads never wait for each other. Gradients are added in the order of the rows, whatever the threads did.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch.nn.functional import linear, silu

from rella_train.model import Learner
from rella_train.rows import Answers, Batch, Sequence

BLOCK = 128  # queries at a time
LONGEST = 2048  # tokens of a row: what attention keeps grows with their square
STEP = 16  # of lengths, to which rows are padded: kernels are built once for each, and here in little time
aten = torch.ops.aten


def learns(model: Any, dropout: float) -> bool:
    """Say whether this module can train a model: one of the llama architecture, on a CPU, without dropout."""
    config = model.config
    plain = config.model_type == "llama" and config.hidden_act == "silu"
    biased = config.attention_bias or config.mlp_bias if plain else True
    return bool(plain and not biased and not dropout and model.device.type == "cpu")


class Joined:
    """Linear layers that read the same input, as one: base weights, and adapters where there are some."""

    def __init__(self, layers: list[Any]) -> None:
        bases = [layer.base_layer if hasattr(layer, "base_layer") else layer for layer in layers]
        self.adapted = [layer for layer in layers if hasattr(layer, "lora_A")]
        self.out, self.rank = (
            sum(base.out_features for base in bases),
            sum(layer.r["default"] for layer in self.adapted),
        )
        first = bases[0].weight
        self.weight = torch.cat([*(base.weight.detach() for base in bases), first.new_zeros(self.rank, first.shape[1])])
        self.up = first.new_zeros(self.out, self.rank)
        self.places: list[tuple[slice, slice]] = []  # of an adapter: rows of the joined output, and of what is between
        row = column = 0
        for layer, base in zip(layers, bases, strict=True):
            base.weight.data = self.weight[row : row + base.out_features]  # so that there is no second copy
            if layer in self.adapted:
                self.places.append((slice(row, row + base.out_features), slice(column, column + layer.r["default"])))
                column += layer.r["default"]
            row += base.out_features

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the adapters' numbers over, in the base's precision."""
        for layer, (rows, columns) in zip(self.adapted, self.places, strict=True):
            self.weight[self.out :][columns] = layer.lora_A["default"].weight
            self.up[rows, columns] = layer.lora_B["default"].weight * layer.scaling["default"]

    def forward(self, given: Any) -> tuple[Any, Any]:
        """Return the output, and what is between the adapters' two matrices."""
        both = linear(given, self.weight)
        out, between = both[:, : self.out], both[:, self.out :]
        if self.rank:
            between = between.contiguous()
            out.addmm_(between, self.up.t())
        return out, between

    def room(self, length: int) -> Any:
        """Return room for the gradient of the output, which `backward` wants."""
        return self.weight.new_empty(length, self.out + self.rank)

    def backward(self, given: Any, between: Any, gradient: Any) -> tuple[Any, Any]:
        """Return the gradients of the joined first matrices and of the second ones; complete `gradient`."""
        if not self.rank:
            return None, None
        out = gradient[:, : self.out]
        inner = out @ self.up
        gradient[:, self.out :] = inner
        return inner.t() @ given, out.t() @ between

    def add_gradients(self, found: Iterable[tuple[Any, Any]]) -> None:
        """Add up the gradients of rows, in their order, as those of the adapters."""
        if not self.rank:
            return
        firsts, seconds = zip(*found, strict=True)
        first, second = (torch.stack(each).sum(0, dtype=torch.float32) for each in (firsts, seconds))
        for layer, (rows, columns) in zip(self.adapted, self.places, strict=True):
            layer.lora_A["default"].weight.grad = first[columns].clone()
            layer.lora_B["default"].weight.grad = second[rows, columns] * layer.scaling["default"]


class Norm(NamedTuple):
    """Root mean square normalisation."""

    weight: Any
    epsilon: float

    def forward(self, given: Any) -> tuple[Any, Any]:
        """Return the output, and the reciprocal root mean square of each place."""
        out, scale = aten._fused_rms_norm(given, [given.shape[-1]], self.weight, self.epsilon)
        return out, scale

    def backward(self, given: Any, scale: Any, gradient: Any, beside: Any) -> Any:
        """Return the gradient of the input: of what went through here, and `beside` it."""
        inner = gradient.float().mul_(self.weight)
        given = given.float()
        mean = torch.linalg.vecdot(inner, given).unsqueeze(-1).mul_(scale**3 / given.shape[-1])
        return inner.mul_(scale).addcmul_(given, mean, value=-1).add_(beside).to(beside.dtype)


class Rotation:
    """Rotary positions, of queries (scaled as attention wants them) and keys."""

    def __init__(self, model: Any, heads: int, shared: int, width: int) -> None:
        self.model, self.counts, self.scale = model, (heads, shared), width**-0.5
        self.tables: dict[int, tuple[Any, Any]] = {}

    def table(self, length: int, like: Any) -> tuple[Any, Any]:
        """Return cosines and sines of shape (heads, length, half a head)."""
        if length not in self.tables:
            cosine, sine = self.model.rotary_emb(torch.zeros(1), torch.arange(length)[None])
            scales = torch.tensor([self.scale] * self.counts[0] + [1.0] * self.counts[1])[:, None, None]
            half = cosine.shape[-1] // 2
            self.tables[length] = tuple((each[..., :half] * scales).to(like.dtype) for each in (cosine, sine))
        return self.tables[length]

    def forward(self, given: Any) -> Any:
        """Turn (length, heads, width) into (heads, length, width), rotated."""
        return self._turn(given.transpose(0, 1), torch.empty_like(given.transpose(0, 1).contiguous()), -1)

    def backward(self, gradient: Any, out: Any) -> None:
        """Write the gradient, (heads, length, width), rotated back, into (length, heads, width)."""
        self._turn(gradient, out.transpose(0, 1), 1)

    def _turn(self, given: Any, out: Any, sign: int) -> Any:
        cosine, sine = self.table(given.shape[1], given)
        half = given.shape[-1] // 2
        a, b = given[..., :half], given[..., half:]
        out[..., :half] = torch.addcmul(a * cosine, b, sine, value=sign)
        out[..., half:] = torch.addcmul(b * cosine, a, sine, value=-sign)
        return out


def attend(query: Any, key: Any, value: Any) -> tuple[Any, list[Any]]:
    """Attend to what is not later; the queries are scaled.

    Parameters
    ----------
    query
        (groups, heads of a group, length, width); a group's heads share keys and values.
    key, value
        (groups, length, width).

    Returns
    -------
    The output in the shape of `query`, and each block's weights.

    """
    groups, heads, length, width = query.shape
    out, kept = torch.empty_like(query), []
    later = torch.full((BLOCK, BLOCK), float("-inf"), dtype=query.dtype).triu_(1)
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        asked = query[:, :, start:end].reshape(groups, -1, width)
        scores = torch.bmm(asked, key[:, :end].transpose(1, 2)).view(groups, heads, end - start, end)
        scores[..., start:] += later[: end - start, : end - start]
        weights = torch.softmax(scores, -1).view(groups, -1, end)
        out[:, :, start:end] = torch.bmm(weights, value[:, :end]).view(groups, heads, -1, width)
        kept.append(weights)
    return out, kept


def attend_backward(query: Any, key: Any, value: Any, kept: list[Any], gradient: Any) -> tuple[Any, Any, Any]:
    """Return the gradients of `attend`'s inputs."""
    groups, heads, length, width = query.shape
    queries, keys, values = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
    for start, weights in zip(range(0, length, BLOCK), kept, strict=True):
        end = weights.shape[-1]
        asked, wanted = (each[:, :, start:end].reshape(groups, -1, width) for each in (query, gradient))
        values[:, :end] += torch.bmm(weights.transpose(1, 2), wanted)
        inner = aten._softmax_backward_data(torch.bmm(wanted, value[:, :end].transpose(1, 2)), weights, -1, query.dtype)
        queries[:, :, start:end] = torch.bmm(inner, key[:, :end]).view(groups, heads, -1, width)
        keys[:, :end] += torch.bmm(inner.transpose(1, 2), asked)
    return queries, keys, values


class Attention:
    """The first half of a layer."""

    def __init__(self, layer: Any, config: Any, rotation: Rotation) -> None:
        inner = layer.self_attn
        self.norm = Norm(layer.input_layernorm.weight.detach(), config.rms_norm_eps)
        self.ask, self.tell = Joined([inner.q_proj, inner.k_proj, inner.v_proj]), Joined([inner.o_proj])
        self.joined = [self.ask, self.tell]
        self.rotation = rotation
        self.heads, self.groups, self.width = config.num_attention_heads, config.num_key_value_heads, inner.head_dim

    def forward(self, given: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return the output, and what `backward` wants."""
        normed, scale = self.norm.forward(given)
        asked, between = self.ask.forward(normed)
        heads = (
            asked.view(len(given), -1, self.width) if asked.is_contiguous() else asked.unflatten(1, (-1, self.width))
        )
        turned = self.rotation.forward(heads[:, : self.heads + self.groups])
        query, key = turned[: self.heads].view(self.groups, -1, len(given), self.width), turned[self.heads :]
        value = heads[:, self.heads + self.groups :].transpose(0, 1).contiguous()
        attended, kept = attend(query, key, value)
        flat = attended.view(self.heads, len(given), -1).transpose(0, 1).reshape(len(given), -1)
        out, between_out = self.tell.forward(flat)
        return given + out, (given, normed, scale, between, query, key, value, kept, flat, between_out)

    def backward(self, gradient: Any, saved: tuple[Any, ...], down: bool) -> tuple[Any, list[tuple[Any, Any]]]:
        """Return the gradient of the input, if there is something below to train, and those of the adapters."""
        given, normed, scale, between, query, key, value, kept, flat, between_out = saved
        length = len(given)
        room = self.tell.room(length)
        room[:, : self.tell.out] = gradient
        told = self.tell.backward(flat, between_out, room)
        inner = (room @ self.tell.weight).view(length, self.heads, -1).transpose(0, 1).reshape(query.shape)
        queries, keys, values = attend_backward(query, key, value, kept, inner)
        room = self.ask.room(length)
        heads = room[:, : self.ask.out].unflatten(1, (-1, self.width))
        turned = torch.cat([queries.view(self.heads, length, -1), keys])
        self.rotation.backward(turned, heads[:, : self.heads + self.groups])
        heads[:, self.heads + self.groups :] = values.transpose(0, 1)
        asked = self.ask.backward(normed, between, room)
        below = self.norm.backward(given, scale, room @ self.ask.weight, gradient) if down else None
        return below, [asked, told]


class FeedForward:
    """The second half of a layer."""

    def __init__(self, layer: Any, config: Any) -> None:
        inner = layer.mlp
        self.norm = Norm(layer.post_attention_layernorm.weight.detach(), config.rms_norm_eps)
        self.widen, self.narrow = Joined([inner.gate_proj, inner.up_proj]), Joined([inner.down_proj])
        self.joined = [self.widen, self.narrow]

    def forward(self, given: Any) -> tuple[Any, tuple[Any, ...]]:
        """Return the output, and what `backward` wants."""
        normed, scale = self.norm.forward(given)
        wide, between = self.widen.forward(normed)
        gate, up = wide.chunk(2, 1)
        out, between_out = self.narrow.forward(silu(gate).mul_(up))
        return given + out, (given, normed, scale, between, gate, up, between_out)

    def backward(self, gradient: Any, saved: tuple[Any, ...], down: bool) -> tuple[Any, list[tuple[Any, Any]]]:
        """Return the gradient of the input, and those of the adapters."""
        given, normed, scale, between, gate, up, between_out = saved
        room = self.narrow.room(len(given))
        room[:, : self.narrow.out] = gradient
        active = silu(gate)
        narrowed = self.narrow.backward(active * up, between_out, room)
        inner = room @ self.narrow.weight
        room = self.widen.room(len(given))
        half = self.widen.out // 2
        torch.mul(inner, active, out=room[:, half : self.widen.out])
        room[:, :half] = aten.silu_backward(inner.mul_(up), gate)
        widened = self.widen.backward(normed, between, room)
        return self.norm.backward(given, scale, room @ self.widen.weight, gradient), [widened, narrowed]


class LlamaLearner(Learner):
    """A llama model that learns from batches by the passes of this module."""

    def __init__(self, model: Any, answers: Answers) -> None:
        super().__init__(model, answers)
        base = model.get_base_model() if hasattr(model, "peft_config") else model
        decoder, config = base.model, base.config
        self.words = decoder.embed_tokens.weight.detach()
        self.head = base.get_output_embeddings().weight.detach().float()
        self.norm = Norm(decoder.norm.weight.detach().float(), config.rms_norm_eps)
        width = decoder.layers[0].self_attn.head_dim
        rotation = Rotation(decoder, config.num_attention_heads, config.num_key_value_heads, width)
        self.blocks = [
            block
            for layer in decoder.layers
            for block in (Attention(layer, config, rotation), FeedForward(layer, config))
        ]
        adapted = [place for place, block in enumerate(self.blocks) if any(each.rank for each in block.joined)]
        self.lowest = adapted[0] if adapted else len(self.blocks)
        threads = torch.get_num_threads()
        self.pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))

    def add_gradients(self, batch: Batch) -> float:
        """Set the gradients of a step, and return its loss; see `Learner.add_gradients`."""
        if _is_long(batch):
            return super().add_gradients(batch)
        self._refresh()
        count = len(batch.answers)
        found = list(self.pool.map(lambda row: self._row_gradients(row, count), batch.rows))
        for place, joined in enumerate(each for block in self.blocks[self.lowest :] for each in block.joined):
            joined.add_gradients(row[place] for _, row in found)
        return sum(loss for loss, _ in found)

    def answer_logits(self, batch: Batch) -> Any:
        """Return the logits of the answers' tokens before each answer, in float32: (answers, `Answers`)."""
        if _is_long(batch):
            return super().answer_logits(batch)
        self._refresh()
        head = self.head[self.tokens]
        return torch.cat(list(self.pool.map(lambda row: linear(self._hidden(row)[0], head), batch.rows)))

    def _refresh(self) -> None:
        for block in self.blocks:
            for joined in block.joined:
                joined.refresh()

    @torch.no_grad()
    def _hidden(self, row: Sequence, keep: bool = False) -> tuple[Any, list[Any], Any]:
        """Return the answers' hidden states in float32, what each half of a layer kept, and those before the norm."""
        ids = torch.zeros(_padded(row), dtype=torch.long)  # what is padded stands behind, where no row's answer looks
        ids[: len(row.tokens)] = torch.tensor(row.tokens)
        states, kept = self.words[ids], []
        for number, block in enumerate(self.blocks):
            if number == len(self.blocks) - 1:
                states = states[_before(row)]  # the last layer's second half is of no use elsewhere
            states, saved = block.forward(states)
            kept.append(saved if keep and number >= self.lowest else None)
        last = states.float()
        return self.norm.forward(last)[0], kept, last

    @torch.no_grad()
    def _row_gradients(self, row: Sequence, count: int) -> tuple[float, list[tuple[Any, Any]]]:
        """Return a row's part of the loss, which has `count` answers, and of the gradients."""
        hidden, kept, last = self._hidden(row, keep=True)
        wanted = self.tokens[row.answers][:, None]
        shares = torch.log_softmax(linear(hidden, self.head), 1)
        loss = -shares.gather(1, wanted).sum() / count
        inner = shares.exp_().scatter_add_(1, wanted, torch.full_like(wanted, -1, dtype=torch.float32)).div_(count)
        scale = self.norm.forward(last)[1]
        gradient = self.norm.backward(last, scale, inner @ self.head, torch.zeros_like(last)).to(self.words.dtype)
        found: list[tuple[Any, Any]] = []
        for number in range(len(self.blocks) - 1, self.lowest - 1, -1):
            gradient, adapters = self.blocks[number].backward(gradient, kept.pop(), number > self.lowest)
            found = adapters + found
            if number == len(self.blocks) - 1 and gradient is not None:
                whole = gradient.new_zeros(_padded(row), gradient.shape[1])
                whole[_before(row)] = gradient
                gradient = whole
        return float(loss), found


def _is_long(batch: Batch) -> bool:
    """Tell whether a batch has a row that transformers reads with less memory."""
    return any(len(row.tokens) > LONGEST for row in batch.rows)


def _padded(row: Sequence) -> int:
    """Return the length to which a row is padded."""
    return -(-len(row.tokens) // STEP) * STEP


def _before(row: Sequence) -> Any:
    """Return the places whose logits foretell a row's answers."""
    return torch.tensor(row.places) - 1
