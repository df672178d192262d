"""The room that touches llama_cpp: load a model, tokenise, decode, embed, adapt, generate."""

from rella_cpp.engine.engine import Continuation, Engine, States
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.native import BuildInfo, build_info
from rella_cpp.engine.segments import Encoded, Prompt, Segment, Span
from rella_cpp.engine.settings import EngineSettings

__all__ = [
    "Adapter",
    "BuildInfo",
    "Continuation",
    "Encoded",
    "Engine",
    "EngineSettings",
    "Prompt",
    "Segment",
    "Span",
    "States",
    "build_info",
]
