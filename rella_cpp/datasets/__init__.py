"""Data sets: from the files as downloaded to one table format, and back as records."""

from rella_cpp.datasets.dataset import DataSet, Interactions, Samples
from rella_cpp.datasets.layout import SPLITS
from rella_cpp.datasets.leave_one_out import LeaveOneOut
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.preparing import DATA_FORMATS, DataFormat, prepare
from rella_cpp.datasets.recipe import EventColumns, Recipe, RecordColumns, SampleRules, read_recipe
from rella_cpp.datasets.summary import LengthBin, SplitSummary, Summary, summarize

__all__ = [
    "DATA_FORMATS",
    "SPLITS",
    "DataFormat",
    "DataSet",
    "EventColumns",
    "Interactions",
    "LeaveOneOut",
    "LengthBin",
    "PrepareOptions",
    "Recipe",
    "RecordColumns",
    "SampleRules",
    "Samples",
    "SplitSummary",
    "Summary",
    "prepare",
    "read_recipe",
    "summarize",
]
