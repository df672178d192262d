"""rella-cpp: how likely is a user to like an item? A GGUF language model on this machine reads the history and says."""

from rella_cpp.cache import Cache, CacheInfo
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
from rella_cpp.inputs import History, read_history, read_items, read_user
from rella_cpp.models import find_model, packaged_model, pull_model
from rella_cpp.recommender import Rella
from rella_cpp.records import AppliedAdapter, Behavior, Item, ModelIdentity, Score, User
from rella_cpp.retrieval import Selection
from rella_cpp.scoring import LOW_ANSWER_MASS, ranks
from rella_gguf import read_header

__all__ = [
    "LOW_ANSWER_MASS",
    "Adapter",
    "AppliedAdapter",
    "Behavior",
    "BuildInfo",
    "Cache",
    "CacheInfo",
    "ContextError",
    "Domain",
    "Engine",
    "EngineError",
    "EngineSettings",
    "Field",
    "GGUFError",
    "History",
    "InputError",
    "Item",
    "ModelIdentity",
    "RatingScale",
    "Rella",
    "RellaError",
    "Score",
    "Selection",
    "Templates",
    "User",
    "build_info",
    "builtin_domains",
    "domain_source",
    "find_model",
    "load_domain",
    "packaged_model",
    "pull_model",
    "ranks",
    "read_header",
    "read_history",
    "read_items",
    "read_user",
]
