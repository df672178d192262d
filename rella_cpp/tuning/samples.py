"""What examples made of a data set's samples have in common."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rella_cpp.errors import InputError
from rella_cpp.prompts.rendering import PromptText


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleExample:
    """One prompt with its answer.

    `sample` is the row among the data set's samples; `label` says whether the answer is the positive one.
    """

    sample: int
    label: bool
    answer: str
    text: PromptText

    @property
    def place(self) -> str:
        """Where it comes from, for messages."""
        return sample_place(self.sample)


def sample_place(sample: int) -> str:
    """Return a sample's place in its data set, for messages."""
    return f"sample {sample}"


@contextmanager
def located(folder: Path, place: str) -> Iterator[None]:
    """Say of an input that cannot be read in which data set it stands, and where."""
    try:
        yield
    except InputError as error:
        raise error.located(folder, place) from None
