"""rella-cpp: how likely is a user to like an item? A GGUF language model on this machine reads the history and says."""

import typing

if typing.TYPE_CHECKING:  # for readers and type checkers; the same again below
    from rella_cpp.advice import ADVISED_TYPES, Advice, advise, recommended
    from rella_cpp.benching.measuring import bench
    from rella_cpp.benching.mix import Mix
    from rella_cpp.benching.results import Bench, Measure, RawRate
    from rella_cpp.cache import Cache, CacheInfo
    from rella_cpp.candidates import Recommendation
    from rella_cpp.choosing.likelihood import ChoiceQuery, Likelihood
    from rella_cpp.datasets import (
        DATA_FORMATS,
        SPLITS,
        DataFormat,
        DataSet,
        EventColumns,
        Interactions,
        LeaveOneOut,
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
        SummaryWords,
        Templates,
        builtin_domains,
        domain_source,
        load_domain,
    )
    from rella_cpp.engine import Adapter, BuildInfo, Engine, EngineSettings, build_info
    from rella_cpp.errors import ContextError, EngineError, FaultsError, GGUFError, InputError, RellaError
    from rella_cpp.evaluation.calibration import Calibration, fit_calibration
    from rella_cpp.evaluation.comparison import compare_runs
    from rella_cpp.evaluation.evaluating import EvaluationSettings, evaluate
    from rella_cpp.evaluation.histories import Histories
    from rella_cpp.evaluation.page import write_page
    from rella_cpp.evaluation.ranking import RankingSettings, evaluate_ranking
    from rella_cpp.evaluation.ready import evaluate_prompts, read_prompts
    from rella_cpp.evaluation.report import report
    from rella_cpp.evaluation.runs import Run, open_runs
    from rella_cpp.head import Head
    from rella_cpp.index import IndexManifest, IndexSettings, ItemIndex, add_to_index, build_index, search_text
    from rella_cpp.inputs import History, read_history, read_items, read_user
    from rella_cpp.models import find_model, packaged_model, pull_model
    from rella_cpp.query import Query
    from rella_cpp.rankings import Ranking, Rankings, RankingsSummary, import_rankings, summarize_rankings
    from rella_cpp.recommender import Rella
    from rella_cpp.records import (
        AppliedAdapter,
        Behavior,
        BlockSummary,
        Item,
        ModelIdentity,
        PreferenceSummary,
        Score,
        User,
    )
    from rella_cpp.requests import Request, take_request
    from rella_cpp.retrieval import Selection
    from rella_cpp.scoring import LOW_ANSWER_MASS, ranks
    from rella_cpp.summarization.collection import CollectionSettings, WrittenSummaries, write_summaries
    from rella_cpp.summarization.settings import SummarySettings
    from rella_cpp.summarization.summaries import SampleSummary, Summaries
    from rella_cpp.tuning.delrec import DELREC_TASKS, DelrecExample, DelrecExamples, DelrecSettings
    from rella_cpp.tuning.examples import Example, Examples, TuningSettings
    from rella_cpp.tuning.fitting import tune_head
    from rella_cpp.tuning.pairs import TrsrExample, TrsrExamples, TrsrSettings
    from rella_cpp.tuning.row_sets import export_row_sets
    from rella_cpp.tuning.rows import TuningRows, export_rows
    from rella_cpp.vectors import ItemVectors
    from rella_cpp.worker import work
    from rella_gguf import read_header
else:
    import rella_gguf.surface

    __getattr__, __dir__ = rella_gguf.surface.public(
        __name__,
        {
            "rella_cpp.advice": "ADVISED_TYPES Advice advise recommended",
            "rella_cpp.benching.measuring": "bench",
            "rella_cpp.benching.mix": "Mix",
            "rella_cpp.benching.results": "Bench Measure RawRate",
            "rella_cpp.cache": "Cache CacheInfo",
            "rella_cpp.candidates": "Recommendation",
            "rella_cpp.choosing.likelihood": "ChoiceQuery Likelihood",
            "rella_cpp.datasets": (
                "DATA_FORMATS SPLITS DataFormat DataSet EventColumns Interactions LeaveOneOut LengthBin PrepareOptions "
                "Recipe RecordColumns SampleRules Samples SplitSummary Summary prepare read_recipe summarize"
            ),
            "rella_cpp.domains": (
                "Domain Field RatingScale SummaryWords Templates builtin_domains domain_source load_domain"
            ),
            "rella_cpp.engine": "Adapter BuildInfo Engine EngineSettings build_info",
            "rella_cpp.errors": "ContextError EngineError FaultsError GGUFError InputError RellaError",
            "rella_cpp.evaluation.calibration": "Calibration fit_calibration",
            "rella_cpp.evaluation.comparison": "compare_runs",
            "rella_cpp.evaluation.evaluating": "EvaluationSettings evaluate",
            "rella_cpp.evaluation.histories": "Histories",
            "rella_cpp.evaluation.page": "write_page",
            "rella_cpp.evaluation.ranking": "RankingSettings evaluate_ranking",
            "rella_cpp.evaluation.ready": "evaluate_prompts read_prompts",
            "rella_cpp.evaluation.report": "report",
            "rella_cpp.evaluation.runs": "Run open_runs",
            "rella_cpp.head": "Head",
            "rella_cpp.index": "IndexManifest IndexSettings ItemIndex add_to_index build_index search_text",
            "rella_cpp.inputs": "History read_history read_items read_user",
            "rella_cpp.query": "Query",
            "rella_cpp.models": "find_model packaged_model pull_model",
            "rella_cpp.recommender": "Rella",
            "rella_cpp.records": "AppliedAdapter Behavior BlockSummary Item ModelIdentity PreferenceSummary Score User",
            "rella_cpp.requests": "Request take_request",
            "rella_cpp.retrieval": "Selection",
            "rella_cpp.rankings": "Ranking Rankings RankingsSummary import_rankings summarize_rankings",
            "rella_cpp.scoring": "LOW_ANSWER_MASS ranks",
            "rella_cpp.summarization.collection": "CollectionSettings WrittenSummaries write_summaries",
            "rella_cpp.summarization.settings": "SummarySettings",
            "rella_cpp.summarization.summaries": "SampleSummary Summaries",
            "rella_cpp.tuning.delrec": "DELREC_TASKS DelrecExample DelrecExamples DelrecSettings",
            "rella_cpp.tuning.examples": "Example Examples TuningSettings",
            "rella_cpp.tuning.fitting": "tune_head",
            "rella_cpp.tuning.pairs": "TrsrExample TrsrExamples TrsrSettings",
            "rella_cpp.tuning.row_sets": "export_row_sets",
            "rella_cpp.tuning.rows": "TuningRows export_rows",
            "rella_cpp.vectors": "ItemVectors",
            "rella_cpp.worker": "work",
            "rella_gguf": "read_header",
        },
    )

__all__ = [
    "ADVISED_TYPES",
    "DATA_FORMATS",
    "DELREC_TASKS",
    "LOW_ANSWER_MASS",
    "SPLITS",
    "Adapter",
    "Advice",
    "AppliedAdapter",
    "Behavior",
    "Bench",
    "BlockSummary",
    "BuildInfo",
    "Cache",
    "CacheInfo",
    "Calibration",
    "ChoiceQuery",
    "CollectionSettings",
    "ContextError",
    "DataFormat",
    "DataSet",
    "DelrecExample",
    "DelrecExamples",
    "DelrecSettings",
    "Domain",
    "Engine",
    "EngineError",
    "EngineSettings",
    "EvaluationSettings",
    "EventColumns",
    "Example",
    "Examples",
    "FaultsError",
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
    "LeaveOneOut",
    "LengthBin",
    "Likelihood",
    "Measure",
    "Mix",
    "ModelIdentity",
    "PreferenceSummary",
    "PrepareOptions",
    "Query",
    "Ranking",
    "RankingSettings",
    "Rankings",
    "RankingsSummary",
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
    "SampleSummary",
    "Samples",
    "Score",
    "Selection",
    "SplitSummary",
    "Summaries",
    "Summary",
    "SummarySettings",
    "SummaryWords",
    "Templates",
    "TrsrExample",
    "TrsrExamples",
    "TrsrSettings",
    "TuningRows",
    "TuningSettings",
    "User",
    "WrittenSummaries",
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
    "evaluate_ranking",
    "export_row_sets",
    "export_rows",
    "find_model",
    "fit_calibration",
    "import_rankings",
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
    "summarize_rankings",
    "take_request",
    "tune_head",
    "work",
    "write_page",
    "write_summaries",
]
