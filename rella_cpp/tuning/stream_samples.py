"""Samples of a data set, drawn to fit a head on, each read as the end of a stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_seed
from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.prompts.streams.text import StreamText, write_stream
from rella_cpp.retrieval.samples import Histories
from rella_cpp.retrieval.selection import Selection, Window
from rella_cpp.tuning.samples import located, sample_place


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What is drawn and how it is read.

    `shots` samples are drawn from the training split with `seed`; the first hundred of more shots are those of fewer.
    Each is read behind the latest behaviors; see `Selection`.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    shots: int = 256
    k: int = 12
    window: Window = "anchored"
    seed: int = 0
    layout: Literal["stream"] = "stream"

    def __post_init__(self) -> None:
        """Check every value."""
        if self.shots < 1:
            raise InputError(f"shots is {self.shots}", remedy="give at least 1 sample (--shots 256)")
        check_seed(self.seed)
        _ = self.selection

    @property
    def order(self) -> Literal["time"]:
        """The order of a stream."""
        return "time"

    @property
    def selection(self) -> Selection:
        """Which behaviors a stream shows."""
        return Selection(self.k, "recent", "time", allow_empty_history=True, window=self.window)


@dataclass(frozen=True, slots=True)
class StreamExample:
    """A sample, the stream that ends in its item, and whether it was liked."""

    sample: int
    label: bool
    text: StreamText


class StreamSamples:
    """Reads a data set's samples as streams.

    Parameters
    ----------
    data, domain
        The samples, and the words for them.
    histories
        Chooses behaviors.
    settings
        What is drawn and how it is read.

    Raises
    ------
    InputError
        The data has no ratings, or the domain does not say how a stream is written.

    """

    def __init__(self, data: DataSet, histories: Histories, domain: Domain, settings: StreamSettings) -> None:
        data.check_stream(domain)
        self.data, self.histories, self.domain, self.settings = data, histories, domain, settings

    def training(self) -> Iterator[StreamExample]:
        """Yield the training samples, in the order drawn.

        Raises
        ------
        InputError
            The training split has fewer samples than shots, or a record does not fit the domain.

        """
        data, samples = self.data, self.data.samples
        for row in data.draw("train", self.settings.shots, self.settings.seed).tolist():
            positions, earlier = self.histories.stream(row, self.settings.selection)
            behaviors = data.behaviors(self.histories.start(row) + positions)
            with located(data.folder, sample_place(row)):
                user = data.user(int(samples.user[row]))
                text = write_stream(self.domain, user, behaviors, data.target(row), earlier)
            yield StreamExample(row, bool(samples.label[row]), text)
