"""What another recommender expects next (SASRec, GRU4Rec, …): lists by user and position, from a table."""

from rella_cpp.rankings.importing import import_rankings
from rella_cpp.rankings.lists import Ranking, Rankings
from rella_cpp.rankings.summary import RankingsSummary, summarize_rankings

__all__ = ["Ranking", "Rankings", "RankingsSummary", "import_rankings", "summarize_rankings"]
