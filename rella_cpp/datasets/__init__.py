"""Data sets: from the files as downloaded to one table format, and back as records."""

from rella_cpp.datasets.dataset import SPLITS, DataSet, Interactions, Samples
from rella_cpp.datasets.importing import import_rankings
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.preparing import DATA_FORMATS, DataFormat, prepare
from rella_cpp.datasets.ranking_summary import RankingsSummary, summarize_rankings
from rella_cpp.datasets.rankings import Ranking, Rankings
from rella_cpp.datasets.recipe import EventColumns, Recipe, RecordColumns, SampleRules, read_recipe
from rella_cpp.datasets.summary import LengthBin, SplitSummary, Summary, summarize

__all__ = [
    "DATA_FORMATS",
    "SPLITS",
    "DataFormat",
    "DataSet",
    "EventColumns",
    "Interactions",
    "LengthBin",
    "PrepareOptions",
    "Ranking",
    "Rankings",
    "RankingsSummary",
    "Recipe",
    "RecordColumns",
    "SampleRules",
    "Samples",
    "SplitSummary",
    "Summary",
    "import_rankings",
    "prepare",
    "read_recipe",
    "summarize",
    "summarize_rankings",
]
