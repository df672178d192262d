"""The protocols in which each user has candidates, one of them positive: what they are called, and what they report."""

from dataclasses import dataclass

from rella_cpp.metrics.ranking import metric_title


@dataclass(frozen=True, slots=True)
class RankingProtocol:
    """A protocol.

    Attributes
    ----------
    name
        As runs' settings and commands name it.
    metrics
        What is reported, in the order of a table; see `ranking_metrics`.
    deciding
        The metric by which verdicts are given.
    so_far
        The one that progress shows.
    compared
        Those that fit where runs stand side by side; the deciding one first.
    positive
        What the positive of each user is, for a sentence.

    """

    name: str
    metrics: tuple[str, ...]
    deciding: str
    so_far: str
    compared: tuple[str, ...]
    positive: str

    @property
    def title(self) -> str:
        """The deciding metric's name as people write it."""
        return metric_title(self.deciding)


RANK = RankingProtocol(
    name="rank",
    metrics=(*(f"{kind}@{cut}" for kind in ("recall", "mrr", "ndcg") for cut in (3, 5, 10)), "user_auc"),
    deciding="ndcg@10",
    so_far="mrr@10",
    compared=("ndcg@10", "mrr@10", "recall@10"),
    positive="one item liked",
)
"""The last item that each user liked among items never touched, as LLM-TRSR does (arXiv 2403.13325 §4)."""

CHOOSE = RankingProtocol(
    name="choose",
    metrics=("hr@1", "hr@5", "ndcg@5", "mrr"),
    deciding="hr@1",
    so_far="hr@1",
    compared=("hr@1", "hr@5", "ndcg@5", "mrr"),
    positive="the next item",
)
"""Each user's next item among items never touched: leave one out, as DELRec does (arXiv 2406.11156)."""

PROTOCOLS = {protocol.name: protocol for protocol in (RANK, CHOOSE)}
