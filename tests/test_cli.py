import gc
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Result, Run, runner
from tiny_model import (
    CHATML,
    Shape,
    metadata,
    random_weights,
    spm_vocab,
    write_adapter,
    write_model,
    write_vocabulary_only,
)

from rella_cli.main import main
from rella_cli.views.scores import verdict
from rella_cpp import Item, ModelIdentity, Score

EXAMPLES = Path(__file__).parent.parent / "examples"
HISTORY, ITEM, ITEMS = (str(EXAMPLES / name) for name in ("history.json", "item.json", "items.json"))


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def score(rella: Run, models: Path) -> Run:
    """`rella score` on the examples, with a tiny model in which they fit."""
    path = write_model(models / "examples.gguf", shape=Shape(ctx=4096))

    def run(*arguments: object, command: str = "score") -> Result:
        return rella(command, "--history", HISTORY, "--item", ITEM, "--model", path, *arguments)

    return run


def test_score_as_json_has_the_documented_keys_and_the_same_bytes_each_time(score: Run) -> None:
    first, second = score("--json"), score("--json")
    assert first.code == 0 and first.out == second.out
    (row,) = first.lines()
    assert list(row) == ("item probability yes_logit no_logit answer_mass prompt_tokens used dropped model".split())
    assert row["used"] == list(range(8)) and row["item"] == json.loads(Path(ITEM).read_text())
    assert set(row["model"]) == {"name", "fingerprint"}  # type: ignore[call-overload]
    assert "/" not in json.dumps(row["model"])
    (row,) = score("--json", "--show-prompt").lines()
    assert "Blade Runner" in str(row["prompt"])


def test_rank_as_json_keeps_the_input_order_and_gives_ranks(score: Run) -> None:
    rows = score("--items", ITEMS, "--json", command="rank").lines()
    assert [row["item"] for row in rows] == json.loads(Path(ITEMS).read_text())
    by_rank = sorted(rows, key=lambda row: row["rank"])  # type: ignore[arg-type, return-value]
    assert [row["rank"] for row in by_rank] == [1, 2, 3, 4, 5]
    assert [row["probability"] for row in by_rank] == sorted((row["probability"] for row in rows), reverse=True)  # type: ignore[type-var]
    assert [{key: row[key] for key in row if key != "rank"} for row in rows] == score("--item", ITEMS, "--json").lines()


def test_a_person_sees_bar_verdict_behaviors_and_prompt(score: Run) -> None:
    shown = score("--show-prompt")
    assert shown.code == 0
    for part in (
        "Aliens (1986), Science Fiction",
        "█",
        "%",
        "Read 8 of 8 behaviors",
        "Notting Hill",
        "<|im_start|>user",
    ):
        assert part in shown.out
    # A random model does not answer Yes or No, and is told so instead of a verdict.
    assert "it hardly answers at all" in shown.out and "does not answer in that form" in shown.err
    table = score("--items", ITEMS, command="rank").out
    assert all(title in table for title in ("Aliens", "Casablanca", "Arrival")) and "8 behaviors given" in table


def test_places_are_those_of_the_file_though_timestamps_give_the_order(score: Run, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps([{"title": title, "timestamp": time} for title, time in (("c", 3), ("a", 1), ("b", 2))]))
    (row,) = score("--history", path, "--json", "--show-prompt").lines()
    assert row["used"] == [1, 2, 0]
    assert "1. a\n2. b\n3. c\n" in str(row["prompt"])
    view = score("--history", path).out
    assert view.index("    a\n") < view.index("    b\n") < view.index("    c\n")


def test_fields_that_are_not_shown_are_named(rella: Run, spm_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text('[{"title": "Heat", "raiting": 3, "id": 6, "x\\u001b[31m\\n": 1}]')
    result = rella("score", "--history", path, "--item", ITEM, "--model", spm_model, "--json")
    assert (
        result.code == 0
        and "note: the domain movies does not show raiting, x\\u001b[31m ; another" in result.err
        and "\x1b" not in result.err
    )


@pytest.mark.parametrize(
    ("probability", "mass", "words"),
    [(0.9, 1.0, "very likely"), (0.5, 0.5, "undecided"), (0.1, 0.3, "very unlikely"), (0.9, 0.1, "hardly answers")],
)
def test_the_verdict_in_words(probability: float, mass: float, words: str) -> None:
    score = Score(Item({"title": "x"}), probability, 0, 0, mass, 1, (), 0, ModelIdentity("m", "f"))
    assert words in verdict(score).plain and f"{probability:.1%}" in verdict(score).plain


def test_titles_are_not_read_as_markup_or_control_sequences(rella: Run, spm_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "h.json"
    path.write_text(json.dumps([{"title": "[bold]x[/bold] \x1b[31mred :smile: \ud800"}]))
    result = rella("score", "--history", path, "--item", path, "--model", spm_model, "--allow-empty-history")
    assert result.code == 0 and "[bold]x[/bold] [31mred :smile: ?" in result.out
    line = rella("score", "--history", path, "--item", path, "--model", spm_model, "--json").lines()[0]
    assert line["item"] == {"title": "[bold]x[/bold] \x1b[31mred :smile: \ud800"} and line["excluded"] == 1


def test_standard_input_and_json_lines(rella: Run, spm_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"title": "Heat"}\n{"title": "Alien"}\n')))
    result = rella("score", "--history", "-", "--item", ITEM, "--model", spm_model, "--json")
    assert result.lines()[0]["used"] == [0, 1]


def test_a_user_file_and_an_adapter_with_a_scale(score: Run, tmp_path: Path, adapter: Path) -> None:
    history, user = tmp_path / "h.json", tmp_path / "u.json"
    history.write_text('[{"title": "Heat"}]')
    user.write_text('{"age": "35-44"}')
    with_user = score("--history", history, "--user", user, "--json", "--show-prompt")
    assert "age 35-44" in with_user.out
    adapted = score("--lora", f"{adapter}=0.5", "--json")
    assert adapted.lines()[0]["model"]["adapters"][0]["scale"] == 0.5  # type: ignore[index]
    assert adapted.err.count("does not say what it was tuned on") == 1


def test_the_cache_is_shown_cleared_and_left_alone(score: Run, rella: Run, own_cache: Path) -> None:
    score("-k", 3, "--no-cache")
    assert not own_cache.exists()
    score("-k", 3)
    info = rella("cache", "info", "--json").lines()[0]
    assert info["vectors"] == 9 and info["models"] == 1 and info["folder"] == str(own_cache)
    assert "9 item vectors of 1 model," in rella("cache", "info").out
    assert rella("cache", "clear").code == 0
    assert rella("cache", "info", "--json").lines()[0]["vectors"] == 0


def test_gguf_inspect_shows_what_a_file_holds(rella: Run, spm_model: Path, adapter: Path) -> None:
    shown = rella("gguf", "inspect", spm_model, "--tensors").out
    for part in ("llama", "parameters", "F32", "512", "<|im_start|>", "blk.0.attn_q.weight", "16 × 16"):
        assert part in shown
    found = rella("gguf", "inspect", spm_model, "--json").lines()[0]
    assert (found["kind"], found["layers"], found["chat_template"]) == ("model", 2, CHATML)
    assert "adapter.lora.alpha" in rella("gguf", "inspect", adapter).out


def test_domains_are_listed_and_printed(rella: Run) -> None:
    assert "movies" in rella("domains").out
    assert 'noun = "book"' in rella("domains", "books").out
    assert rella("domains", "--json").lines()[0]["name"] == "books"
    assert rella("domains", "book").code == 2


def test_a_domain_file_of_ones_own_is_checked_and_shown(rella: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(rella("domains", "games").out)
    shown = rella("domains", path).out
    assert "--layout question:" in shown and "Now consider this game: <title 4> (<year 4>)" in shown
    assert "--layout stream:" in shown and "<title 1> (<year 1>): 9\n" in shown
    found = json.loads(rella("domains", path, "--json").out)
    assert found["toml"] == path.read_text() and [*found["prompts"]] == ["question", "stream"]
    path.write_text('noun = "x"')
    assert "mine.toml: has no" in rella("domains", path).err


def test_version_names_the_engine(rella: Run) -> None:
    out = rella("--version").out
    assert all(
        part in out for part in ("rella-cpp 0.", "llama-cpp-python 0.", "GPU offload: ", "backend CPU: ", "processor: ")
    )


def test_without_a_command_the_help_is_shown(rella: Run) -> None:
    assert rella().code == 0 and rella("--help").code == 0
    assert "score" in rella("-h").out


def test_verbose_shows_the_log_of_llama_cpp_and_nothing_else_does(score: Run) -> None:
    assert "llama_model_loader" in score("--json", "--verbose").err
    quiet = score("--json")
    assert "llama" not in quiet.err


def bad_files(folder: Path) -> dict[str, Path]:
    """Make the files that the table of bad input names."""
    good = write_model(folder / "good.gguf", shape=Shape(ctx=4096))
    weights = random_weights(len(spm_vocab().tokens), Shape(), 0)
    files = {
        "good": good,
        "adapter": write_adapter(folder / "adapter.gguf"),
        "wide": write_adapter(folder / "wide.gguf", shape=Shape(embd=32)),
        "qwen": write_adapter(folder / "qwen.gguf", arch="qwen2"),
        "vocabulary": write_vocabulary_only(folder / "vocabulary.gguf"),
        "wordless": write_model(
            folder / "wordless.gguf", change=lambda writer: metadata(writer, tokenizer__ggml__model="none")
        ),
        "pooling": write_model(folder / "pooling.gguf", change=lambda writer: metadata(writer, llama__pooling_type=1)),
        "negative": write_model(
            folder / "negative.gguf",
            change=lambda writer: metadata(writer, llama__attention__layer_norm_rms_epsilon=-1e-5),
        ),
        "badtemplate": write_model(
            folder / "badtemplate.gguf", template="{{ raise_exception('never') }}", weights=weights
        ),
    }
    for name, data in (
        ("truncated", good.read_bytes()[:-5000]),
        ("beheaded", good.read_bytes()[:500]),
        ("text", b"GGML is not GGUF"),
        ("empty", b""),
    ):
        files[name] = folder / f"{name}.gguf"
        files[name].write_bytes(data)
    texts = {
        "broken": '[{"title": "Heat"},\n {"title": }]',
        "untitled": '[{"title": "Heat"}, {"year": 1995}]',
        "overrated": '[{"title": "Heat", "rating": 7}]',
        "none": "[]",
        "wrongtype": '{"title": "Heat", "genres": 3}',
        "long": json.dumps({"title": "x " * 5000}),
        "word": json.dumps({"title": "x" * 50_000}),
        "huge": '{"title": "Heat", "year": 1e999}',
    }
    for name, text in texts.items():
        files[name] = folder / f"{name}.json"
        files[name].write_text(text)
    files["same"] = folder / "same.toml"
    files["same"].write_text(
        'noun = "film"\nplural = "films"\nverb = "saw"\nsystem = ""\nquestion = "?"\nanswers = ["Well", "Wellish"]\n'
        "[item.title]\nrequired = true\n[rating]\nmin = 0\nmax = 5\n"
    )
    files["missing"] = folder / "missing.json"
    return files


BAD = [
    ("--history {missing}", "missing.json: no such file"),
    ("--history {broken}", "broken.json, line 2, column 12: is not JSON"),
    ("--history {untitled}", "untitled.json, history[1]: has no title"),
    ("--history {overrated}", "overrated.json, history[0]: rating is '7'"),
    ("--history {none}", "none.json: the history is empty"),
    ("--item {wrongtype}", "wrongtype.json: field genres is a number ('3')"),
    ("--item {missing}", "missing.json: no such file"),
    ("--user {broken}", "broken.json, line 2"),
    ("--model {missing}", "missing.json: no such file"),
    ("--model {text}", "text.gguf: is no GGUF file"),
    ("--model {empty}", "empty.gguf: is no GGUF file"),
    ("--model {truncated}", "truncated.gguf: has"),
    ("--model {beheaded}", "beheaded.gguf: the header ends"),
    ("--model {adapter}", "adapter.gguf: is a GGUF of the kind adapter, not a model"),
    ("--model {vocabulary}", "vocabulary.gguf: is a GGUF of the kind vocabulary, not a model"),
    ("--model {wordless}", "wordless.gguf: has no vocabulary; give a model with its tokenizer"),
    ("--model {pooling}", "pooling.gguf: is an embedding model (llama), no language model that answers"),
    ("--model {negative}", "negative.gguf: has the attention.layer_norm_rms_epsilon -1e-05"),
    ("--model {badtemplate}", "badtemplate.gguf: the chat template fails to render (never)"),
    ("--lora {wide}", "wide.gguf: blk.0.attn_q.weight.lora_a is made for a width of 32"),
    ("--lora {qwen}", "qwen.gguf: was made for the architecture qwen2, the model is llama"),
    ("--lora {good}", "good.gguf: is a full model, not a LoRA adapter"),
    ("--lora {missing}", "missing.json: no such file"),
    ("--lora {adapter}=much", "the scale is 'much'"),
    ("--lora {adapter}=nan", "adapter.gguf: the scale is nan"),
    ("--lora {adapter} --lora {adapter}=2", "adapter.gguf: is named twice"),
    ("-k 0", "K is '0'; give a whole number"),
    ("-k three", "Invalid value for '-k'"),
    ("--domain {same}", "'Well' and 'Wellish' begin with the same token"),
    ("--domain movie", "unknown domain 'movie'; did you mean movies?"),
    ("--chat-format vicunna", "unknown chat format 'vicunna'; did you mean vicuna?"),
    ("--item {long}", "long.json: the title has 10,00"),
    ("--item {word}", "word.json: field title has 50000 characters without a blank"),
    ("--item {huge}", "huge.json: holds 1e999"),
    ("--model hf:../..", "hf:../.. names no repository"),
    ("--history - --item -", "standard input: - is named twice"),
    ("--retrieval best", "retrieval is 'best'; one of subr, recent"),
    ("--order up", "order is 'up'; one of time, similarity, reversed"),
    ("--ctx 0", "ctx is 0"),
    ("--threads 0", "threads is 0"),
    ("--threads 513", "threads is 513; give 1 to 512"),
    ("--ctx 100000000", "good.gguf: ctx is 100000000; the model was trained on 4096 tokens"),
    ("--flash-attn maybe", "flash-attn is 'maybe'"),
    ("--kv-type q3", "kv-type is 'q3'"),
    ("--surprise", "surprise"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(rella: Run, tmp_path: Path, arguments: str, said: str) -> None:
    files = bad_files(tmp_path)
    options = {"--history": HISTORY, "--item": ITEM, "--model": str(files["good"])}
    words = arguments.format(**files).split()
    rest = [part for name, value in options.items() if name not in words for part in (name, value)]
    result = rella("score", *words, *rest)
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")


def test_a_domain_file_with_several_faults_gets_a_line_for_each(score: Run, tmp_path: Path) -> None:
    path = tmp_path / "wines.toml"
    path.write_text('noun = "wine"\nvreb = "drank"\nquestion = 3\n[item.title]\nshow = "x"\n')
    result = score("--domain", path)
    lines = result.err.splitlines()
    assert (result.code, result.out, len(lines)) == (2, "", 5)
    assert all(line.startswith(f"rella: {path}") for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [["score"], ["score", "--history", HISTORY], ["nothing"], ["gguf"], ["gguf", "inspect"], ["pull"], ["--surprise"]],
)
def test_wrong_usage_gets_one_line_and_exit_2(rella: Run, arguments: list[str]) -> None:
    result = rella(*arguments)
    assert (result.code, result.out) == (2, "") and len(result.err.splitlines()) == 1


def test_an_interruption_ends_with_130(score: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rella_cpp.recommender.rella.Rella.rank", interrupt)
    assert score().code == 130


def test_a_fault_of_ours_is_not_hidden(spm_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr("rella_cpp.recommender.rella.Rella.rank", fail)
    with pytest.raises(AssertionError, match="a bug"):
        main(["score", "--history", HISTORY, "--item", ITEM, "--model", str(spm_model)])


def test_a_reader_that_goes_away_is_no_error(spm_model: Path) -> None:
    command = [sys.executable, "-m", "rella_cli", "domains", "books"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("redirection", "said"),
    [("<&-", "standard input: it is closed"), (">&-", "standard output is closed"), (">/dev/full", "No space left")],
)
def test_streams_that_fail_get_one_line(spm_model: Path, redirection: str, said: str) -> None:
    history = "-" if "<" in redirection else HISTORY
    command = f"{sys.executable} -m rella_cli score --history {history} --item {ITEM} --model {spm_model} --json"
    done = subprocess.run(f"{command} {redirection}", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == (2 if "<" in redirection else 1)
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr


def test_a_terminal_without_a_width_still_shows_the_result(score: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert "Aliens" in score().out


def test_an_untrusted_file_cannot_write_to_the_terminal(rella: Run, tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", name="\x1b[31mX\x1b]0;pwned", shape=Shape(ctx=4096))
    for arguments in (["gguf", "inspect", path], ["score", "--history", HISTORY, "--item", ITEM, "--model", path]):
        result = rella(*arguments)
        assert r"\u001b[31mX" in result.out and "\x1b" not in result.out
    angry = write_model(tmp_path / "a.gguf", template="{{ raise_exception('\x1b[2J' ~ 'x' * 100000) }}")
    refused = rella("score", "--history", HISTORY, "--item", ITEM, "--model", angry)
    assert refused.code == 2 and "\x1b" not in refused.err and len(refused.err) < 1200


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rella_cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'llama_cpp', 'sklearn', 'datasets', 'usearch', 'numpy', 'gguf'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_garbage_is_collected_as_usual_once_a_model_is_loaded(score: Run) -> None:
    # A worker grew by 20 MB in 10,000 requests while the collector came as seldom as at the start.
    assert score("--json").code == 0 and gc.get_threshold()[0] < 10_000
