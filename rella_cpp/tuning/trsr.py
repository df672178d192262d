"""Examples to tune on with preference summaries (LLM-TRSR, arXiv 2403.13325): what was liked beside a negative, 1:1."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_seed
from rella_cpp.datasets.negatives import Negatives
from rella_cpp.domains.records import Behavior
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.prompts.yes_no import Preference, write_prompt
from rella_cpp.recommender.rella import Rella
from rella_cpp.summarization.summaries import Summaries
from rella_cpp.tuning.samples import SampleExample, located, sample_place

_ORDER, _NEGATIVE = 0, 1  # purposes of random numbers


@dataclass(frozen=True, slots=True)
class TrsrSettings:
    """What is drawn: `shots` training samples, or all, and a negative for each.

    The first hundred of more shots are those of fewer.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    shots: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.shots is not None and self.shots < 1:
            raise InputError(f"shots is {self.shots}", remedy="give at least 1 sample, or leave it out for all")
        check_seed(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrsrExample(SampleExample):
    """One prompt with its answer: a sample's own item (`label` is true), or a negative in its place."""

    item: str

    @property
    def facts(self) -> dict[str, object]:
        """What its row says besides the prompt, as JSON."""
        return {"sample": self.sample, "item": self.item, "label": int(self.label)}


class TrsrExamples:
    """Reads summarized samples as prompts: each liked item, and for the same user an item that they never touched.

    Parameters
    ----------
    data, summaries
        The samples and the summaries of their histories.
    judge
        The model that will be tuned and asked: item texts are cut by its tokens. Its domain has the words.
    settings
        What is drawn.

    Attributes
    ----------
    left_out
        Training samples whose item was not liked: no negatives, since those are drawn.

    Raises
    ------
    InputError
        The summaries are of other data or other words, are damaged, or have no training samples with what was liked,
        or fewer than shots.

    """

    def __init__(self, data: DataSet, summaries: Summaries, judge: Rella, settings: TrsrSettings) -> None:
        summaries.check(data, judge.domain)
        self.data, self.domain, self.settings = data, judge.domain, settings
        self._summaries, self._judge = summaries, judge
        self._shortener = judge.summarizer.shortener(summaries.summary)
        self._negatives = Negatives(data)
        drawn = summaries.rows("train")
        liked = self._liked(drawn)
        self.left_out = len(drawn) - len(liked)
        wanted = len(liked) if settings.shots is None else settings.shots
        if not liked or wanted > len(liked):
            more = f"ask for {len(liked):,} at most, or summarise more" if liked else "summarise --split train or all"
            raise InputError(
                f"has {len(liked):,} samples of the split train whose item was liked, {max(1, wanted):,} are wanted",
                source=summaries.folder,
                remedy=more,
            )
        self._training = liked[:wanted]
        self._validation = self._liked(summaries.rows("valid"))

    @property
    def rows(self) -> int:
        """How many training examples there are."""
        return 2 * len(self._training)

    @property
    def folders(self) -> list[Path]:
        """The folders that are read."""
        return [self.data.folder, self._summaries.folder]

    def training(self) -> Iterator[TrsrExample]:
        """Yield the training examples, the samples in the order drawn; of one sample the liked item's first.

        Raises
        ------
        InputError
            A record does not fit the domain, or a user touched every item.
        ContextError
            A prompt does not fit the judge's context.

        """
        for sample in self._training:
            yield from self._pair(sample)

    def validation(self, count: int) -> Iterator[TrsrExample]:
        """Yield the examples of `count` validation samples, or of all if there are fewer; two a sample likewise."""
        for sample in self._validation[:count]:
            yield from self._pair(sample)

    def facts(self, valid: int) -> dict[str, object]:
        """Return what the examples come from besides data and domain, as JSON, for `valid` validation rows."""
        made = self._summaries.settings
        return {
            "samples": {"shots": len(self._training), "seed": self.settings.seed, "negatives": 1, "valid": valid},
            "index": None,
            "summaries": {
                "fingerprint": self._summaries.fingerprint,
                "settings": made["summary"],
                "author": made["author"],
                "cut_by": self._judge.vectors.base.as_dict(),
            },
        }

    def _liked(self, samples: Sequence[int]) -> list[int]:
        """Return the samples whose item was liked, in an order drawn."""
        liked = [sample for sample in samples if self.data.samples.label[sample] == 1]
        random = np.random.default_rng([self.settings.seed, _ORDER])
        return [liked[place] for place in random.permutation(len(liked)).tolist()]

    def _pair(self, sample: int) -> Iterator[TrsrExample]:
        """Yield a sample with its own item, then with its negative, which depends on the seed and the sample alone."""
        data, samples = self.data, self.data.samples
        user, item = int(samples.user[sample]), int(samples.item[sample])
        random = np.random.default_rng([self.settings.seed, _NEGATIVE, sample])
        (negative,) = self._negatives.draw(user, 1, random).tolist()
        summary, others = self._summaries.of(sample).summary, data.others(sample)
        latest = others[max(0, len(others) - self._summaries.summary.recent) :]
        behaviors = data.behaviors(int(data.interactions.starts[user]) + latest)
        for target, answer in zip((item, negative), self.domain.answers, strict=True):
            with located(data.folder, sample_place(sample)):
                text = self._prompt(user, behaviors, target, Preference(summary.text, self._shortener))
            name = data.item_id(target)
            yield TrsrExample(sample=sample, label=target == item, answer=answer, text=text, item=name)

    def _prompt(self, user: int, behaviors: Sequence[Behavior], item: int, preference: Preference) -> PromptText:
        """Write the prompt that `Rella.rank` would write.

        Where that would drop behaviors for the context's sake, this raises: the rows would teach another prompt.
        """
        record, person = self.data.item(item), self.data.user(user)
        text = write_prompt(self.domain, person, behaviors, record, preference=preference)
        tokens, most = len(self._judge.prompts.question(text)), self._judge.engine.n_ctx
        if tokens > most:
            raise ContextError(
                f"a prompt of {tokens} tokens does not fit the context of {most}",
                remedy="raise --ctx, or summarise with a smaller -n or --item-tokens",
            )
        return text
