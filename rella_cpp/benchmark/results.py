"""Rates that were measured, and what follows from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rella_cpp.benchmark.workload import Mix


@dataclass(frozen=True, slots=True)
class RawRate:
    """What `llama_decode` itself does: prompts decoded one after another, in calls of at most 512 tokens.

    Attributes
    ----------
    name
        Which prompts.
    prompts, tokens
        How many, and their tokens together.
    hidden
        Whether the hidden states of all positions were asked, rather than the logits at each prompt's end.
    seconds
        Median time of all of them.

    """

    name: str
    prompts: int
    tokens: int
    hidden: bool
    seconds: float

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        return {**asdict(self), "rate": self.rate}


@dataclass(frozen=True, slots=True)
class Measure:
    """What one kind of work takes.

    Attributes
    ----------
    name
        The work.
    prompts
        How many prompts it reads.
    asked
        Tokens of the prompts, each counted in full, and of the texts that were generated.
    computed
        Positions computed for them: what prompts share counts once.
    new_tokens
        Tokens generated, the one that ends a text included.
    seconds
        Median time.
    against, raw
        The raw rate that it is compared with: its name, and tokens a second.

    """

    name: str
    prompts: int
    asked: int
    computed: int
    new_tokens: int
    seconds: float
    against: str
    raw: float

    @property
    def rate(self) -> float:
        """Tokens asked a second."""
        return self.asked / self.seconds

    @property
    def computed_rate(self) -> float:
        """Tokens computed a second."""
        return self.computed / self.seconds

    @property
    def bound(self) -> float:
        """Tokens asked a second, if those computed took what `llama_decode` itself takes: raw × asked / computed."""
        return self.raw * self.asked / self.computed

    @property
    def ratio(self) -> float:
        """The rate as a share of the bound."""
        return self.rate / self.bound

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        derived = {name: getattr(self, name) for name in ("rate", "computed_rate", "bound", "ratio")}
        return {**asdict(self), **derived}


@dataclass(frozen=True, slots=True)
class Bench:
    """Everything that one benchmark measured, all in one run, in turns; times are medians.

    Attributes
    ----------
    surroundings
        Machine, build, versions, model and settings; see `rella_cpp.benchmark.machine.surroundings`.
    mix
        What was read.
    prompt_tokens
        Lengths of the prompts by kind of work: the least, the mean, the most.
    repeats
        How often each was timed.
    raw
        Raw rates.
    measures
        The work.

    """

    surroundings: Mapping[str, Mapping[str, object]]
    mix: Mix
    prompt_tokens: Mapping[str, tuple[int, float, int]]
    repeats: int
    raw: tuple[RawRate, ...]
    measures: tuple[Measure, ...]

    def measure(self, name: str) -> Measure:
        """Return the measure of that name.

        Raises
        ------
        KeyError
            There is none.

        """
        return {measure.name: measure for measure in self.measures}[name]

    @property
    def generation_speedup(self) -> float:
        """How many times as fast texts are generated together as one after another."""
        return self.measure(APART).seconds / self.measure(TOGETHER).seconds

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        lengths = {
            name: {"least": least, "mean": mean, "most": most}
            for name, (least, mean, most) in self.prompt_tokens.items()
        }
        return {
            **self.surroundings,
            "mix": {**self.mix.as_dict(), "prompt_tokens": lengths},
            "repeats": self.repeats,
            "raw": [rate.as_dict() for rate in self.raw],
            "measures": [measure.as_dict() for measure in self.measures],
            "generation_speedup": self.generation_speedup,
        }


APART, TOGETHER = "generate, apart", "generate, together"
"""Names of the two measures of generation."""
