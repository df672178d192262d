import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import Run, runner
from look_alikes import Rating, amazon, bookcrossing, ml_1m, ml_25m, random_ratings, write_files

RATINGS = random_ratings()


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_files(tmp_path / "small.zip", ml_25m(RATINGS))


def test_prepare_says_what_it_made_and_info_shows_it(rella: Run, source: Path, tmp_path: Path) -> None:
    code, out, err = rella("data", "prepare", "ml-25m", source, tmp_path / "out")
    assert (code, err) == (0, "")
    assert "ml-25m, domain movies" in out and "% liked" in out
    code, out, err = rella("data", "info", tmp_path / "out")
    assert (code, err) == (0, "")
    for part in ("interactions", "train", "rating > 3", "8:1:1", "samples by length of history", "5–9", "█"):
        assert part in out


def test_both_print_one_json_object(rella: Run, source: Path, tmp_path: Path) -> None:
    code, out, _ = rella("data", "prepare", "ml-25m", source, tmp_path / "out", "--json")
    made = json.loads(out)
    assert code == 0 and len(out.splitlines()) == 1
    assert made["interactions"] == len(RATINGS) and [split["name"] for split in made["splits"]] == [
        *("train", "valid", "test")
    ]
    assert json.loads(rella("data", "info", tmp_path / "out", "--json")[1]) == made


def test_what_was_left_out_and_mended_is_shown_and_warned_of(rella: Run, tmp_path: Path) -> None:
    books = ["1", "2", "3", "4", "5", "6"]
    files = bookcrossing([(1, isbn, 7) for isbn in [*books, "unknown"]], books)
    source = write_files(tmp_path / "books.zip", files)
    _, out, _ = rella("data", "prepare", "bookcrossing", source, tmp_path / "out", "--valid", "0.1", "--explicit-only")
    assert "1 × a book that BX-Books.csv does not describe" in out and "2 HTML entities read" in out
    broken = files | {"BX-Book-Ratings.csv": files["BX-Book-Ratings.csv"] + b'"1"\r\n'}
    again = write_files(tmp_path / "broken.zip", broken)
    code, out, err = rella("data", "prepare", "bookcrossing", again, tmp_path / "new", "--skip-bad-rows")
    assert code == 0 and "1 × 1 fields in place of 3" in out
    assert (
        err.startswith("rella: WARNING: BX-Book-Ratings.csv, line 9: 1 fields in place of 3") and err.count("\n") == 1
    )


def test_texts_of_the_items_are_taken_told_and_shown(rella: Run, source: Path, tmp_path: Path) -> None:
    plots = [{"movieId": 1, "overview": "A hacker wakes up."}, {"movieId": 2, "overview": ""}, {"movieId": 77}]
    text = "".join(f"{json.dumps(row)}\n" for row in plots)
    texts = write_files(tmp_path / "plots.zip", {"items.jsonl": text.encode()})
    code, out, err = rella("data", "prepare", "ml-25m", source, tmp_path / "out", "--texts", texts)
    assert (code, err) == (0, "") and "overview = 1 of 12 items" in out and "1 × an empty overview" in out
    _, out, _ = rella("data", "info", tmp_path / "out")
    assert "overview = 1 of 12 items" in out and "items.jsonl, by movieId" in out
    named = ("--texts", texts, "--texts-id", "movieId", "--json")
    made = json.loads(rella("data", "prepare", "ml-25m", source, tmp_path / "named", *named)[1])
    assert made["rules"]["texts"] == {"overview": "1 of 12 items"}


def test_a_table_by_options_and_by_recipe_is_the_same(rella: Run, tmp_path: Path) -> None:
    rows = "".join(f"{r.user},{r.item},{r.rating},{r.timestamp}\n" for r in RATINGS)
    (tmp_path / "events.csv").write_text("who,what,stars,at\n" + rows)
    (tmp_path / "films.csv").write_text("what,name\n" + "".join(f"{n},Film {n}\n" for n in range(1, 13)))
    words = "--user-column who --item-column what --rating-column stars --time-column at --title-column name"
    options = [
        *words.split(),
        "--items",
        tmp_path / "films.csv",
        "--liked-above",
        3,
        "--split",
        "8,1,1",
        "--by",
        "time",
    ]
    code, out, _ = rella("data", "prepare", "table", tmp_path / "events.csv", tmp_path / "a", *options, "--json")
    assert code == 0
    (tmp_path / "recipe.toml").write_text(
        '[interactions]\nfile = "events.csv"\nuser = "who"\nitem = "what"\nrating = "stars"\ntimestamp = "at"\n'
        '[items]\nfile = "films.csv"\ntitle = "name"\n[rules]\nliked_above = 3\nsplit = [8, 1, 1]\nby = "time"\n'
    )
    code, again, _ = rella(
        *("data", "prepare", "table", tmp_path, tmp_path / "b", "--recipe", tmp_path / "recipe.toml", "--json")
    )
    assert code == 0
    one, two = json.loads(out), json.loads(again)
    assert one.pop("folder") != two.pop("folder") and one == two


BAD = [
    ("ml-25m {missing} {out}", "missing.zip: no such file or folder"),
    ("ml-25m {cut} {out}", "cut.zip: is a zip archive cut short or damaged"),
    ("ml-1m {source} {out}", "it looks like ml-25m: rella data prepare ml-25m"),
    ("ml-26m {source} {out}", "unknown format 'ml-26m'; did you mean ml-25m?"),
    ("ml-25m {source} {there}", "there: is there already"),
    ("ml-25m {source} {there} --force", "there: is there already, and no prepared data set"),
    ("ml-25m {source} {linked}", ".linked.rella-part: is a symbolic link, and is to be written; remove it"),
    ("ml-25m {broken} {out}", "ratings.csv, line 2: rating is no number; of 2 rows 1 is broken, more than 0.1 %"),
    ("ml-25m {source} {out} --valid 0.1", "--valid is for bookcrossing"),
    ("ml-25m {source} {out} --title-column t", "columns, files and rules are for table, not for ml-25m"),
    ("ml-25m {source} {out} --recipe {recipe}", "a recipe and columns are for table"),
    ("table {source} {out} --recipe {recipe} --by users", "--recipe is given and options that it stands for"),
    ("table {source} {out} --recipe {missing}", "missing.zip: no such file"),
    ("table {source} {out}", "small.zip: is of no known kind"),
    ("table {source} {out} --split 8:1:1", "--split is '8:1:1'"),
    ("table {source} {out} --split 8,1", "split is a list ('[8, 1]')"),
    ("table {source} {out} --rating-column r", "which ratings are liked is not said"),
    ("table {source} {out} --domain film", "unknown domain 'film'"),
    ("bookcrossing {source} {out} --valid 2", "valid is 2.0"),
    ("bookcrossing {source} {out} --valid much", "Invalid value for '--valid'"),
    ("ml-25m {source} {out} --texts {missing}", "missing.zip: no such file; check the path"),
    ("ml-25m {source} {out} --texts {source}", "small.zip: holds 3 tables: ml-25m/movies.csv, ml-25m/ratings.csv and"),
    ("ml-25m {source} {out} --texts {plots}", "plots.csv: has no id in common with the items: 'tt1' in its column id"),
    ("ml-25m {source} {out} --texts {plots} --texts-id key", "plots.csv: has no column key; its columns are id, overv"),
    ("ml-25m {source} {out} --texts-id id", "--texts-id is given without --texts"),
    ("amazon {source} {out} --seed -1", "seed is -1"),
    ("ml-25m {source}", "Missing argument"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    rella: Run, source: Path, tmp_path: Path, arguments: str, said: str
) -> None:
    names = "out there linked missing.zip cut.zip recipe.toml plots.csv".split()
    (tmp_path / "cut.zip").write_bytes(source.read_bytes()[:-100])
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "plots.csv").write_text("id,overview\ntt1,A plot\n")
    write_files(tmp_path / "there", {"photo.jpg": b"x"})
    (tmp_path / ".linked.rella-part").symlink_to(tmp_path / "there")
    files = ml_25m([Rating(1, 1, 4, 1)])
    files["ml-25m/ratings.csv"] = b"userId,movieId,rating,timestamp\n1,1,x,1\n1,2,4,1\n"
    broken = write_files(tmp_path / "broken.zip", files)
    known = {Path(name).stem: tmp_path / name for name in names} | {"source": source, "broken": broken}
    code, out, err = rella("data", "prepare", *arguments.format(**known).split())
    assert (code, out) == (2, "") and said in err
    assert len(err.splitlines()) == 1 and err.startswith("rella: ") and not (tmp_path / "out").exists()


def test_info_refuses_what_is_no_data_set(rella: Run, source: Path, tmp_path: Path) -> None:
    code, out, err = rella("data", "info", tmp_path)
    assert (code, out) == (2, "") and "is no prepared data set; make one: rella data prepare" in err
    rella("data", "prepare", "ml-25m", source, tmp_path / "out")
    (tmp_path / "out/users.parquet").write_bytes(b"PAR1")
    code, _, err = rella("data", "info", tmp_path / "out")
    assert code == 2 and "users.parquet: is not as it was written" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "files"), [("ml-1m", ml_1m(RATINGS)), ("amazon", amazon({"1": [0, 1, 2], "2": [1]}, 3))]
)
def test_the_other_formats_are_prepared(rella: Run, tmp_path: Path, name: str, files: dict[str, bytes]) -> None:
    assert rella("data", "prepare", name, write_files(tmp_path / "a", files), tmp_path / "out")[0] == 0
    assert rella("data", "info", tmp_path / "out")[0] == 0


def test_titles_from_files_cannot_write_to_the_terminal(rella: Run, tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("user\x1b[31m,item,title\n1,1,T\n1,2,T\n")
    code, _, err = rella("data", "prepare", "table", tmp_path / "e.csv", tmp_path / "out")
    assert code == 2 and "\x1b" not in err


def test_help_of_the_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom rella_cli.main import main\n"
        "try: main(['data', 'prepare', '--help'])\nexcept SystemExit: pass\n"
        "print('heavy:', sorted({'pyarrow', 'datasets', 'numpy', 'llama_cpp', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_the_library_imports_pyarrow_and_datasets_only_where_they_are_used() -> None:
    code = "import sys, rella_cpp\nprint('heavy:', sorted({'pyarrow', 'datasets'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"


def test_averages_are_told_in_words(rella: Run, source: Path, tmp_path: Path) -> None:
    said = "each item's mean rating as it was known, of training ratings alone; smoothed by 5 of the mean of all items"
    code, out, err = rella("data", "prepare", "ml-25m", source, tmp_path / "out", "--averages")
    assert (code, err) == (0, "") and said in " ".join(out.split())
    out = " ".join(rella("data", "info", tmp_path / "out").out.split())
    assert f"averages {said} (2.75 before any rating)" in out and "rule: averages" not in out
    assert json.loads(rella("data", "info", tmp_path / "out", "--json").out)["rules"]["averages"]["smoothing"] == 5
    for words in (("prepare", "ml-25m", source, tmp_path / "plain"), ("info", tmp_path / "plain")):
        assert "mean rating" not in rella("data", *words).out


YIELDS = """noun = "wine"\nplural = "wines"\nverb = "drank"\nsystem = "Judge."\nquestion = "Good?"
[rating]\nmin = 1\nmax = 3\n[item.title]\nrequired = true\n[item.average]\n"""
REFUSED = [
    (("bookcrossing",), "--averages need ratings and times, and bookcrossing has no times; leave them out"),
    (("amazon",), "--averages need ratings and times, and amazon has no ratings and times; leave them out"),
    (("table", "--label-column", "like"), "need ratings and times; name --rating-column and --time-column"),
    (("table", "--rating-column", "stars", "--label-column", "like"), "need ratings and times; name --time-column"),
    (("table", "--label-column", "like", "--time-column", "when"), "need ratings and times; name --rating-column"),
    (
        ("table", "--rating-column", "stars", "--time-column", "when", "--liked-above", "2", "--domain", "WINES"),
        "--averages would be the items' average, and the domain wines has a field of that name; leave them out, or",
    ),
]


@pytest.mark.parametrize(("words", "said"), REFUSED, ids=[said[:50] for _, said in REFUSED])
def test_averages_of_what_has_none_are_refused_before_anything_is_read(
    rella: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "wines.toml").write_text(YIELDS)
    given = [str(tmp_path / "wines.toml") if word == "WINES" else word for word in words]
    code, out, err = rella(
        "data", "prepare", given[0], tmp_path / "none.csv", tmp_path / "out", *given[1:], "--averages"
    )
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1
    assert "none.csv" not in err and not (tmp_path / "out").exists()
