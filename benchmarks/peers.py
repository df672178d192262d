"""Time rella-cpp and its peers on the same prompts, and check that they give the same answers.

    python benchmarks/peers.py --model model.gguf -o results.json
    python benchmarks/peers.py --model model.gguf --hf --llama-server /path/to/llama-server -o results.json

README.md beside this file says what is timed. Let nothing else run meanwhile.
"""

import argparse
import sys
from collections.abc import Callable
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compared import ours
from compared.llama_python import Completion, Embed
from compared.low_level import LowLevel
from compared.report import embed_rows, rank_rows, tables
from compared.server import Server
from compared.task import Embedder, Judge, Limits, Text, texts_of
from compared.timing import time_peers
from rella_cpp import Cache, EngineSettings, InputError, Rella, RellaError, find_model
from rella_cpp.benchmark.machine import surroundings
from rella_cpp.benchmark.prompts import rank_questions
from rella_cpp.benchmark.workload import Mix
from rella_cpp.domains.inputs import take_items
from rella_cpp.engine.machine.cores import usable_cores
from rella_cpp.prompts.question import Question
from rella_cpp.storage.artifacts import write_json
from rella_gguf.files import check_output
from rella_gguf.quantization import is_quantized
from rella_gguf.shown import one_line


def options(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a GGUF; else RELLA_MODEL, else the packaged SmolLM2-135M")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    parser.add_argument("--llama-server", type=Path, metavar="BINARY", help="compare with llama.cpp's server")
    parser.add_argument("--hf", action="store_true", help="compare with transformers (extra train)")
    parser.add_argument("--titles", type=Path, metavar="FILE", help="titles to embed, one a line; else made-up ones")
    parser.add_argument("--items", type=int, default=100, help="items to rank")
    parser.add_argument("--behaviors", type=int, default=30, help="behaviors in each prompt")
    parser.add_argument("--embed", type=int, default=1000, help="titles to embed; 0: no embedding")
    parser.add_argument("--few", type=int, default=8, help="items for the slow peers; their time is scaled")
    parser.add_argument("--hf-few", type=int, default=4, help="items for transformers")
    parser.add_argument("--hf-titles", type=int, default=256, help="titles for the sentence-transformers loop")
    parser.add_argument("--top", type=int, default=100, help="likeliest tokens to list, where a peer lists them")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; medians count")
    parser.add_argument("--threads", type=int, help="for all; else the physical cores")
    parser.add_argument("--ctx", type=int, help="context for all; else min(the model's, 4096)")
    parser.add_argument("--gpu-layers", type=int, default=-1, help="for all but transformers, which stays on the CPU")
    parser.add_argument("--tolerance", type=float, help="largest |ΔP| that agrees; else 0.1 (0.01 where not quantised)")
    parser.add_argument("--cosine", type=float, help="least cosine that agrees; else 0.97 (0.999 where not quantised)")
    parser.add_argument("--apart", action="store_true", help="one peer in memory at a time, all its rounds in a row")
    chosen = parser.parse_args(arguments)
    for name in ("few", "hf_few", "hf_titles", "top", "repeats"):
        if getattr(chosen, name) < 1:
            parser.error(f"--{name.replace('_', '-')} is {getattr(chosen, name)}: give at least 1")
    if chosen.embed < 0:
        parser.error(f"--embed is {chosen.embed}: give at least 0")
    return chosen


class Contest:
    """The prompts, the peers, and what comes out."""

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.path = chosen, find_model(chosen.model)
        self.mix = Mix(items=chosen.items, behaviors=chosen.behaviors, titles=chosen.embed or 1)
        check_output(chosen.out, [self.path], force=chosen.force)
        threads = chosen.threads or usable_cores()
        self.settings = EngineSettings(ctx=chosen.ctx, threads=threads, gpu_layers=chosen.gpu_layers)
        with Rella.from_gguf(self.path, settings=self.settings, cache=Cache(None)) as rella:
            self.items = take_items(self._titles(), rella.domain) if chosen.embed else ()
            self.questions: list[Question] = rank_questions(rella, self.mix)
            self.texts: list[Text] = texts_of(rella, self.items)
            self.facts = surroundings(rella.engine, self.path, rella.model.fingerprint)
            self.limits = Limits(rella.engine.n_ctx, threads, chosen.gpu_layers)
        self._check()
        self._torch_model = lru_cache(maxsize=1 if chosen.apart else None)(self._load)

    def judges(self) -> list[Callable[[], Judge]]:
        """Return what opens each judge."""
        path, limits, chosen = self.path, self.limits, self.chosen
        peers: list[Callable[[], Judge]] = [
            partial(ours.Rank, path, self.settings, self.mix, exact=False),
            partial(ours.Rank, path, self.settings, self.mix, exact=True),
            partial(LowLevel, path, limits, chosen.few),
            partial(Completion, path, limits, "nothing", chosen.top, chosen.few),
            partial(Completion, path, limits, "the last prompt", chosen.top, chosen.few),
            partial(Completion, path, limits, "LlamaRAMCache", chosen.top, chosen.few),
        ]
        if chosen.llama_server:
            peers.append(partial(Server, chosen.llama_server, path, limits, chosen.top))
        if chosen.hf:
            peers += [partial(self._transformers, dtype, reuse) for dtype in _DTYPES for reuse in (False, True)]
        return peers

    def embedders(self) -> list[Callable[[], Embedder]]:
        """Return what opens each embedder."""
        peers: list[Callable[[], Embedder]] = [
            partial(ours.Embed, self.path, self.settings, self.items, exact=False),
            partial(ours.Embed, self.path, self.settings, self.items, exact=True),
            partial(Embed, self.path, self.limits),
        ]
        if self.chosen.hf:
            peers += [partial(self._loop, dtype) for dtype in _DTYPES]
        return peers

    def run(self) -> dict[str, object]:
        """Time everything; return the results as JSON."""
        chosen = self.chosen
        quantized = is_quantized(str(self.facts["model"]["quantisation"]))
        tolerance = chosen.tolerance if chosen.tolerance is not None else 0.1 if quantized else 0.01
        cosine = chosen.cosine if chosen.cosine is not None else 0.97 if quantized else 0.999
        judged = time_peers(self.judges(), self.questions, chosen.repeats, _say, apart=chosen.apart)
        embedded = (
            time_peers(self.embedders(), self.texts, chosen.repeats, _say, apart=chosen.apart) if self.texts else []
        )
        versions = {name: version(name) for name in ("torch", "transformers")} if chosen.hf else {}
        return {
            **self.facts,
            "versions": self.facts["versions"] | versions,
            "mix": self._mix_facts(),
            "repeats": chosen.repeats,
            "in_turns": not chosen.apart,
            "tolerance": {"probability": tolerance, "cosine": cosine},
            "rank": rank_rows(judged, tolerance),
            "embed": embed_rows(embedded, cosine) if embedded else [],
        }

    def _mix_facts(self) -> dict[str, object]:
        lengths = [len(question.tokens) for question in self.questions]
        return {
            "items": self.mix.items,
            "behaviors": self.mix.behaviors,
            "prompt_tokens": {"least": min(lengths), "mean": sum(lengths) / len(lengths), "most": max(lengths)},
            "titles": len(self.texts),
            "titles_from": self.chosen.titles.name if self.chosen.titles else "made up",
            "title_tokens": sum(len(text.tokens) for text in self.texts),
        }

    def _titles(self) -> list[dict[str, object]]:
        file, wanted = self.chosen.titles, self.chosen.embed
        if file is None:
            return self.mix.catalog
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read ({error})", source=file, remedy="give titles, one a line") from None
        titles = [line.strip() for line in lines if line.strip()][:wanted]
        if not titles:
            raise InputError("holds no titles", source=file, remedy="give titles, one a line")
        return [{"title": title} for title in titles]

    def _check(self) -> None:
        longest = max(len(question.tokens) for question in self.questions)
        if longest + 2 > self.limits.ctx:  # create_completion wants room for its token
            raise InputError(
                f"the longest prompt has {longest} tokens; the context holds {self.limits.ctx}",
                source=self.path,
                remedy="raise --ctx, or give fewer --behaviors",
            )

    def _load(self, dtype: Any) -> Any:
        from compared.torch_models import load

        return load(self.path, self.limits, dtype)

    def _transformers(self, dtype: Any, reuse: bool) -> Judge:
        from compared.torch_models import Transformers

        return Transformers(self._torch_model(dtype), dtype, reuse=reuse, prompts=self.chosen.hf_few)

    def _loop(self, dtype: Any) -> Embedder:
        from compared.torch_models import SentenceTransformers

        return SentenceTransformers(self._torch_model(dtype), dtype, prompts=self.chosen.hf_titles)


_DTYPES = ("float32", "bfloat16")


def _say(text: str) -> None:
    print(one_line(text), file=sys.stderr)


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison, write the JSON, print the tables."""
    chosen = options(arguments)
    try:
        results = Contest(chosen).run()
        write_json(chosen.out, results, sealed=False)
    except RellaError as error:
        _say(f"peers: {error}")
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        _say("peers: interrupted")
        sys.exit(130)
    print(tables(results), end="")


if __name__ == "__main__":
    main()
