import json
from pathlib import Path

import pytest
from judges import MOVIES

from rella_cpp import (
    EvaluationSettings,
    InputError,
    Rella,
    evaluate_prompts,
    read_prompts,
    report,
)


def write_prompts(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


def test_ready_prompts_are_judged_as_they_stand(judge: Rella, tmp_path: Path) -> None:
    entries = [
        {"input": f"Will they like movie {n}? Yes or No", "output": "Yes." if n % 2 else "No", "extra": 1}
        for n in range(20)
    ]
    path = write_prompts(tmp_path / "p.json", entries)
    settings = EvaluationSettings()
    done = evaluate_prompts(read_prompts(path, MOVIES), tmp_path / "run", settings, judge=judge)
    assert [line["label"] for line in done.lines] == [n % 2 for n in range(20)]
    assert len({line["yes_logit"] for line in done.lines}) == 20
    text = judge.question("Will they like movie 0? Yes or No").text
    assert text.count("<|im_start|>") == 2 and "taste" not in text  # the user's turn, and no system line of ours
    lines = tmp_path / "p.jsonl"
    split = [{"instruction": e["input"], "input": "", "output": e["output"]} for e in entries]
    lines.write_text("\n".join(map(json.dumps, split)))
    same = evaluate_prompts(read_prompts(lines, MOVIES), tmp_path / "run2", settings, judge=judge)
    assert same.gaps.tolist() == done.gaps.tolist()
    assert report(done)["samples"] == 20 and "baselines" not in done.lines[0]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([{"input": "x", "output": "Maybe"}], r"entry\[0\]: output is text \('Maybe'\); give Yes or No"),
        ([{"input": "x", "output": "No"}, {"output": "No"}], r"entry\[1\]: input is null"),
        ([{"input": "x"}], "output is null"),
        ([{"input": "x", "output": "Nobody knows"}], "output is text"),
        (["x"], r"entry\[0\]: is text"),
        ([], "list that is not empty"),
        ({"input": 1}, "list that is not empty"),
        ([{"input": "movie " * 9000, "output": "No"}], r"entry\[0\]: a prompt of \d+ tokens does not fit"),
    ],
)
def test_bad_ready_prompts_are_refused_by_their_place(judge: Rella, tmp_path: Path, entries: object, said: str) -> None:
    path = write_prompts(tmp_path / "p.json", entries)
    with pytest.raises(InputError, match=said):
        evaluate_prompts(read_prompts(path, MOVIES), tmp_path / "run", EvaluationSettings(), judge=judge)
    assert not (tmp_path / "run").exists()
