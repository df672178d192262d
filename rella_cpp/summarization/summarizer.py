"""From histories to preference summaries: recurrent and hierarchical summarization (LLM-TRSR), many users at once."""

import re
from collections.abc import Callable, Generator, Mapping, Sequence

from rella_cpp.domains.domain import flatten
from rella_cpp.domains.inputs import take_history
from rella_cpp.domains.records import Behavior
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.identity import EngineIdentity
from rella_cpp.errors import ContextError
from rella_cpp.prompts.builder import GenerationPrompt, PromptBuilder
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.prompts.shortening import Shortener
from rella_cpp.prompts.summary import SummaryPrompts
from rella_cpp.storage.artifacts import digest
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summary import BlockSummary, PreferenceSummary

_SENTENCE_END = re.compile(r"(?<!\d)[.!?](?=\s|$)")  # not the number of a list's next entry

Walk = Generator[list[PromptText], list[str], tuple[str | None, list[str]]]
"""Asks for texts, gets them, asks on; returns the summary and what was written after each block."""


class Summarizer:
    """Summarizes with one model in one domain's words, by the base model: adapters are set aside.

    Every text is kept in the cache by the content of its prompt, so a longer history costs only what is new in it; in a
    batch by that of the whole batch, unless the engine is exact.

    Parameters
    ----------
    engine, prompts, identity, cache
        Its parts; the domain is that of the prompts, the identity that of the base model.

    Attributes
    ----------
    domain
        Its words.

    """

    def __init__(self, engine: Engine, prompts: PromptBuilder, identity: EngineIdentity, cache: Cache) -> None:
        self._engine, self.domain, self._prompts = engine, prompts.domain, prompts
        self._identity, self._cache = identity, cache
        self._shorteners: dict[int, Shortener] = {}

    def identity(self) -> dict[str, object]:
        """Return all that texts depend on besides the histories and the settings, as JSON."""
        return {
            "model": self._identity.base.as_dict(),
            "domain": {"name": self.domain.name, "fingerprint": self.domain.fingerprint},
            "chat_format": self._prompts.frame.name,
            "ctx": self._engine.n_ctx,
            "engine": self._identity.words,
            "exact": self._engine.settings.exact,
        }

    def shortener(self, settings: SummarySettings) -> Shortener:
        """Return what cuts the texts of behaviors' items."""
        tokens = settings.item_tokens
        if tokens not in self._shorteners:
            self._shorteners[tokens] = Shortener(self._engine, self.domain, tokens)
        return self._shorteners[tokens]

    def summarize(
        self,
        histories: Sequence[Sequence[Behavior | Mapping[str, object]]],
        settings: SummarySettings,
        progress: Progress = no_progress,
    ) -> list[PreferenceSummary]:
        """Check histories and summarize them; behaviors by 0-based place in the input. See `summaries`."""
        taken = [take_history(history, self.domain, allow_empty=True) for history in histories]
        behaviors = [[behavior for _, behavior in own] for own in taken]
        found = self.summaries(behaviors, settings, together=len(taken) > 1, progress=progress)
        return [summary.at([place for place, _ in own]) for summary, own in zip(found, taken, strict=True)]

    def summaries(
        self,
        histories: Sequence[Sequence[Behavior]],
        settings: SummarySettings,
        *,
        together: bool = False,
        progress: Progress = no_progress,
    ) -> list[PreferenceSummary]:
        """Summarize histories; one summary each, in their order, its behaviors by 0-based place in the history.

        Parameters
        ----------
        histories
            Behaviors, the oldest first.
        together
            Generate the texts of several histories in one batch, which is faster; unless the engine is exact, a text's
            wording may then depend on the whole batch. Else it depends on its prompt alone.

        Raises
        ------
        InputError
            The domain has no words for summaries.
        ContextError
            A block's prompt does not fit the context; what was written before stays in the cache.

        """
        shortener = self.shortener(settings)
        prompts = SummaryPrompts(self.domain, shortener)
        blocks = [settings.blocks(len(history)) for history in histories]
        walks = [
            _WALKS[settings.method]([[history[row] for row in block] for block in own], prompts)
            for history, own in zip(histories, blocks, strict=True)
        ]
        written = _Writing(
            self, settings, together, progress, sum(settings.texts(len(history)) for history in histories)
        )
        found, generated = written.run(walks)
        return [
            PreferenceSummary(
                text=text,
                method=settings.method,
                blocks=tuple(BlockSummary(tuple(block), part) for block, part in zip(own, parts, strict=True)),
                generated=count,
                shortened=sum(shortener.shortens(history[row].item) for row in settings.read(len(history))),
                skipped=len(settings.segment(len(history))) - len(own),
            )
            for (text, parts), count, history, own in zip(found, generated, histories, blocks, strict=True)
        ]

    def prompt(self, text: PromptText, max_tokens: int, number: int) -> GenerationPrompt:
        """Frame a prompt for a text of at most `max_tokens`; `number` is the history's, for messages.

        Raises
        ------
        ContextError
            Both together do not fit the context.

        """
        asked = self._prompts.generation(text)
        if len(asked.prompt) + max_tokens > self._engine.n_ctx:
            raise ContextError(
                f"a prompt of {len(asked.prompt)} tokens and {max_tokens} of a summary "
                f"do not fit the context of {self._engine.n_ctx}",
                place=f"history {number}",
                remedy="lower --block-size, --item-tokens, --summary-tokens or --max-blocks, or raise --ctx",
            )
        return asked

    def texts(
        self, prompts: Sequence[GenerationPrompt], max_tokens: int, *, together: bool, told: Callable[[int], None]
    ) -> tuple[dict[str, str], set[str]]:
        """Return the texts of different prompts by their key, and the keys of those that were not in the cache.

        Written together, they are kept under the whole batch, which may decide their wording: what the cache holds
        of other batches changes nothing, so the same request gives the same texts (and `exact` needs none of this).
        The context belongs to the batch: it decides how many prompts are in memory at once.
        """
        alone = self._engine.settings.exact or not together
        batch = "" if alone else digest([self._engine.n_ctx, [prompt.key for prompt in prompts]])
        key = self._key(max_tokens, batch)
        texts = self._known(key, prompts)
        missing = [prompt for prompt in prompts if prompt.key not in texts]
        if not alone and missing:
            texts, missing = {}, list(prompts)
        told(len(prompts) - len(missing))
        for call in [missing] if together and missing else [[prompt] for prompt in missing]:
            texts |= self._write(key, call, max_tokens)
            told(len(call))
        return texts, {prompt.key for prompt in missing}

    def _known(self, key: str, prompts: Sequence[GenerationPrompt]) -> dict[str, str]:
        """Return the texts that the cache has, damaged ones left out."""
        found = self._cache.texts(key, [prompt.key for prompt in prompts])
        return {prompt: text for prompt, text in found.items() if flatten(text) == text}

    def _write(self, key: str, prompts: Sequence[GenerationPrompt], max_tokens: int) -> dict[str, str]:
        """Generate texts in one call and keep them, all at once."""
        found = self._engine.continuations([prompt.prompt for prompt in prompts], max_tokens, end=prompts[0].end)
        texts = {prompt.key: _cleaned(*each) for prompt, each in zip(prompts, found, strict=True)}
        self._cache.add_texts(key, texts)
        return texts

    def _key(self, max_tokens: int, batch: str) -> str:
        """Name what a text depends on besides its prompt: model, versions, settings, batch, length."""
        return f"{self._identity.base.fingerprint} {self._identity.key} company={batch} tokens={max_tokens}"


class _Writing:
    """Histories summarized in lockstep: each round, what all of them ask for is looked up or generated."""

    def __init__(
        self, summarizer: Summarizer, settings: SummarySettings, together: bool, progress: Progress, total: int
    ) -> None:
        self._summarizer, self._settings, self._together = summarizer, settings, together
        self._progress, self._total, self._done = progress, total, 0

    def run(self, walks: Sequence[Walk]) -> tuple[list[tuple[str | None, list[str]]], list[int]]:
        """Return what each walk returns, and how many texts were generated for it."""
        results: dict[int, tuple[str | None, list[str]]] = {}
        generated = [0] * len(walks)
        replies: dict[int, list[str] | None] = dict.fromkeys(range(len(walks)))
        while replies:
            asked: dict[int, list[PromptText]] = {}
            for number, reply in replies.items():
                try:
                    asked[number] = next(walks[number]) if reply is None else walks[number].send(reply)
                except StopIteration as end:
                    results[number] = end.value
            replies = dict(self._round(asked, generated))
        return [results[number] for number in range(len(walks))], generated

    def _round(self, asked: Mapping[int, Sequence[PromptText]], generated: list[int]) -> dict[int, list[str]]:
        """Return a text for each prompt; count in `generated`, by number, those that were not known."""
        if not asked:
            return {}
        most = self._settings.summary_tokens
        prompts = {n: [self._summarizer.prompt(text, most, n) for text in texts] for n, texts in asked.items()}
        every = {prompt.key: prompt for own in prompts.values() for prompt in own}
        self._tell(sum(len(own) for own in prompts.values()) - len(every))
        texts, new = self._summarizer.texts(list(every.values()), most, together=self._together, told=self._tell)
        owner = {prompt.key: n for n, own in reversed(prompts.items()) for prompt in own}
        for key in new:
            generated[owner[key]] += 1
        return {n: [texts[prompt.key] for prompt in own] for n, own in prompts.items()}

    def _tell(self, more: int) -> None:
        if more:
            self._done += more
            self._progress("summarising", self._done, self._total)


def _cleaned(text: str, ended: bool) -> str:
    """Make one line of a text; one that was cut off by its length ends with its last whole sentence."""
    line = flatten(text)
    ends = [] if ended else [found.end() for found in _SENTENCE_END.finditer(line)]
    return line[: ends[-1]] if ends else line


def _recurrent(blocks: Sequence[Sequence[Behavior]], prompts: SummaryPrompts) -> Walk:
    """Write a summary of the first block, and renew it with each next one."""
    parts: list[str] = []
    for block in blocks:
        prompt = prompts.update(parts[-1], block) if parts else prompts.block(block)
        parts += yield [prompt]
    return (parts[-1] if parts else None), parts


def _hierarchical(blocks: Sequence[Sequence[Behavior]], prompts: SummaryPrompts) -> Walk:
    """Write a summary of each block, then one of them all; of a single block, that block's."""
    if not blocks:
        return None, []
    parts = yield [prompts.block(block) for block in blocks]
    if len(parts) < 2 or not any(parts):
        return parts[-1], parts
    (text,) = yield [prompts.merge(parts)]
    return text, parts


_WALKS = {"recurrent": _recurrent, "hierarchical": _hierarchical}
