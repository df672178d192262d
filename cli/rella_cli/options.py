"""Options that several commands share, so that they are the same everywhere."""

from typing import Annotated

import typer

_MODEL = "Model"
_READING = "Reading the history"

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="GGUF",
        help="Model file, or hf:OWNER/REPO[:QUANT] once pulled. Else RELLA_MODEL, else the packaged SmolLM2-135M.",
        rich_help_panel=_MODEL,
    ),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="A.gguf|DIR[=SCALE]",
        help="LoRA adapter: a GGUF, or a PEFT folder; may be repeated.",
        rich_help_panel=_MODEL,
    ),
]
Soft = Annotated[
    str | None,
    typer.Option(
        "--soft",
        metavar="S.gguf|DIR",
        help="Soft prompt in each question: a GGUF (rella soft convert), or a PEFT folder.",
        rich_help_panel=_MODEL,
    ),
]
ChatFormat = Annotated[
    str | None,
    typer.Option(
        "--chat-format",
        metavar="NAME",
        help="vicuna, chatml, llama-2, zephyr or none; else the model's own chat template.",
        rich_help_panel=_MODEL,
    ),
]
Ctx = Annotated[
    int | None,
    typer.Option("--ctx", help="Context in tokens; else min(the model's, 4096).", rich_help_panel=_MODEL),
]
Threads = Annotated[
    int | None, typer.Option("--threads", help="Threads; else the physical cores.", rich_help_panel=_MODEL)
]
GpuLayers = Annotated[
    int,
    typer.Option("--gpu-layers", help="Layers on a GPU, if the build has one; -1: all.", rich_help_panel=_MODEL),
]
FlashAttn = Annotated[
    str,
    typer.Option("--flash-attn", help="Flash attention: auto, on or off.", rich_help_panel=_MODEL),
]
KvType = Annotated[
    str,
    typer.Option("--kv-type", help="Key-value cache: f32, f16, bf16, q8_0 or q4_0.", rich_help_panel=_MODEL),
]
Exact = Annotated[
    bool,
    typer.Option(
        "--exact/--no-exact",
        help="An item gets the same bits alone or in company (not with --order shared); takes longer.",
        rich_help_panel=_MODEL,
    ),
]
NoTrial = Annotated[
    bool,
    typer.Option(
        "--no-trial",
        help="Skip the one-time trial of a new model in a separate process: if llama.cpp crashes, rella does, too.",
        rich_help_panel=_MODEL,
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither read nor write the cache (vectors, summaries).", rich_help_panel=_MODEL),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show llama.cpp's log.", rich_help_panel=_MODEL)]

UserFile = Annotated[
    str | None,
    typer.Option("--user", metavar="FILE", help='What is known of the user: one object, {"age": "25-34"}.'),
]
DomainName = Annotated[
    str,
    typer.Option(
        "--domain",
        "-d",
        metavar="NAME|TOML",
        help="What the items are: a built-in domain (`rella domains`) or a file.",
    ),
]
K = Annotated[int, typer.Option("-k", help="Behaviors to read at most.", show_default=True, rich_help_panel=_READING)]
Retrieval = Annotated[
    str,
    typer.Option(
        "--retrieval",
        help="subr: those nearest to the item; recent: the latest.",
        rich_help_panel=_READING,
    ),
]
Order = Annotated[
    str,
    typer.Option(
        "--order",
        metavar="time|similarity|reversed|shared",
        help="In the prompt: oldest, nearest or latest first; shared: what most targets retrieve (fastest to rank).",
        rich_help_panel=_READING,
    ),
]
By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="yes-no|likelihood",
        help="Ask of each item whether it is liked; or list all, and ask which comes next: one prompt (DELRec).",
        rich_help_panel=_READING,
    ),
]
AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty-history", help="Score without any behavior.", rich_help_panel=_READING)
]
Shots = Annotated[int, typer.Option("--shots", help="Samples of the training split.")]
Mix = Annotated[
    str,
    typer.Option(
        "--mix",
        metavar="both|original|retrieved",
        help="Each sample with its recent and its retrieved behaviors (ReiT), or with one of them.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Which samples are drawn.")]
DataDomain = Annotated[
    str | None, typer.Option("--domain", "-d", metavar="NAME|TOML", help="What the items are; else the data's.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is there.")]
Count = Annotated[int, typer.Option("-n", "--count", help="How many.", show_default=True)]
AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch",
        help="Use an index, an adapter, a soft prompt, a head or a calibration made for something else.",
        rich_help_panel=_MODEL,
    ),
]
Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="DIR",
        help="Take the items' vectors from an index (rella index build), whichever model made it.",
        rich_help_panel=_READING,
    ),
]
Contrast = Annotated[
    bool,
    typer.Option(
        "--contrast",
        help="Also judge the item with no history, and subtract that gap (one more prompt an item, kept in the cache).",
        rich_help_panel=_READING,
    ),
]
Head = Annotated[
    str | None,
    typer.Option(
        "--head",
        metavar="DIR",
        help="Judge by a head on the hidden states (rella tune head).",
        rich_help_panel=_MODEL,
    ),
]
CalibrationFile = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="JSON",
        help="Calibrate probabilities (rella calibrate).",
        rich_help_panel=_MODEL,
    ),
]
