"""rella-cpp: how likely is a user to like an item? A GGUF language model on this machine reads the history and says."""

from rella_cpp.advice import ADVISED_TYPES, Advice, advise, recommended
from rella_cpp.benching.measuring import bench
from rella_cpp.benching.mix import Mix
from rella_cpp.benching.results import Bench, Measure, RawRate
from rella_cpp.cache import Cache, CacheInfo
from rella_cpp.candidates import Recommendation
from rella_cpp.datasets import (
    DATA_FORMATS,
    SPLITS,
    DataFormat,
    DataSet,
    EventColumns,
    Interactions,
    LengthBin,
    PrepareOptions,
    Recipe,
    RecordColumns,
    SampleRules,
    Samples,
    SplitSummary,
    Summary,
    prepare,
    read_recipe,
    summarize,
)
from rella_cpp.domains import (
    Domain,
    Field,
    RatingScale,
    Templates,
    builtin_domains,
    domain_source,
    load_domain,
)
from rella_cpp.engine import Adapter, BuildInfo, Engine, EngineSettings, build_info
from rella_cpp.errors import ContextError, EngineError, GGUFError, InputError, RellaError
from rella_cpp.evaluation.calibration import Calibration, fit_calibration
from rella_cpp.evaluation.comparison import compare_runs
from rella_cpp.evaluation.evaluating import EvaluationSettings, evaluate
from rella_cpp.evaluation.histories import Histories
from rella_cpp.evaluation.page import write_page
from rella_cpp.evaluation.ready import evaluate_prompts, read_prompts
from rella_cpp.evaluation.report import report
from rella_cpp.evaluation.runs import Run, open_runs
from rella_cpp.head import Head
from rella_cpp.index import IndexManifest, IndexSettings, ItemIndex, add_to_index, build_index, search_text
from rella_cpp.inputs import History, read_history, read_items, read_user
from rella_cpp.judging import Query
from rella_cpp.models import find_model, packaged_model, pull_model
from rella_cpp.recommender import Rella
from rella_cpp.records import AppliedAdapter, Behavior, Item, ModelIdentity, Score, User
from rella_cpp.requests import Request, take_request
from rella_cpp.retrieval import Selection
from rella_cpp.scoring import LOW_ANSWER_MASS, ranks
from rella_cpp.tuning.examples import Example, Examples, TuningSettings
from rella_cpp.tuning.fitting import tune_head
from rella_cpp.tuning.rows import TuningRows, export_rows
from rella_cpp.vectors import ItemVectors
from rella_cpp.worker import work
from rella_gguf import read_header

__all__ = [
    "ADVISED_TYPES",
    "DATA_FORMATS",
    "LOW_ANSWER_MASS",
    "SPLITS",
    "Adapter",
    "Advice",
    "AppliedAdapter",
    "Behavior",
    "Bench",
    "BuildInfo",
    "Cache",
    "CacheInfo",
    "Calibration",
    "ContextError",
    "DataFormat",
    "DataSet",
    "Domain",
    "Engine",
    "EngineError",
    "EngineSettings",
    "EvaluationSettings",
    "EventColumns",
    "Example",
    "Examples",
    "Field",
    "GGUFError",
    "Head",
    "Histories",
    "History",
    "IndexManifest",
    "IndexSettings",
    "InputError",
    "Interactions",
    "Item",
    "ItemIndex",
    "ItemVectors",
    "LengthBin",
    "Measure",
    "Mix",
    "ModelIdentity",
    "PrepareOptions",
    "Query",
    "RatingScale",
    "RawRate",
    "Recipe",
    "Recommendation",
    "RecordColumns",
    "Rella",
    "RellaError",
    "Request",
    "Run",
    "SampleRules",
    "Samples",
    "Score",
    "Selection",
    "SplitSummary",
    "Summary",
    "Templates",
    "TuningRows",
    "TuningSettings",
    "User",
    "add_to_index",
    "advise",
    "bench",
    "build_index",
    "build_info",
    "builtin_domains",
    "compare_runs",
    "domain_source",
    "evaluate",
    "evaluate_prompts",
    "export_rows",
    "find_model",
    "fit_calibration",
    "load_domain",
    "open_runs",
    "packaged_model",
    "prepare",
    "pull_model",
    "ranks",
    "read_header",
    "read_history",
    "read_items",
    "read_prompts",
    "read_recipe",
    "read_user",
    "recommended",
    "report",
    "search_text",
    "summarize",
    "take_request",
    "tune_head",
    "work",
    "write_page",
]
