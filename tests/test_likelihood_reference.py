"""The same tiny model in llama.cpp and in transformers: so must be the log-probabilities. Needs the extra `train`."""

from pathlib import Path

import numpy as np
import pytest
from test_reference import F32, SHAPE, transformers_model
from tiny_model import random_weights, spm_vocab, write_model

from rella_cpp import Behavior, Cache, ChoiceQuery, Item, Rella, User
from rella_cpp.prompts.choice import write_choice

pytestmark = pytest.mark.reference

PROMPTS, CANDIDATES = 20, 5


def queries() -> list[ChoiceQuery]:
    """Make 20 prompts of other histories and other candidates, some of which begin alike."""
    random, words = np.random.default_rng(4), ["movie", "the movie", "Yes", "Heat", "Amélie", "a", "mov", "two er"]
    titles = [f"{one} {other}" for one in words for other in words]
    found = []
    for number in range(PROMPTS):
        drawn = [titles[place] for place in random.permutation(len(titles))[: CANDIDATES + 1 + number % 7]]
        history = [{"title": title, "rating": 3} for title in drawn[CANDIDATES:]]
        found.append(ChoiceQuery(history, [{"title": title} for title in drawn[:CANDIDATES]]))
    return found


def test_log_probabilities_are_those_of_transformers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    reference = transformers_model(weights, n_vocab)
    path = write_model(tmp_path / "m.gguf", shape=SHAPE, weights=weights)
    differences, sums = [], []
    with Rella.from_gguf(path, settings=F32, cache=Cache(None)) as rella, torch.inference_mode():
        domain = rella.domain
        for query, found in zip(queries(), rella.likelihoods(queries()), strict=True):
            items, behaviors = [Item.of(item) for item in query.items], [Behavior.of(b) for b in query.history]
            text = write_choice(domain, User(), behaviors, items)
            question = rella.prompts.choice(text, [domain.name_item(item) for item in items])
            for each, answer in zip(found, question.answers, strict=True):
                # One sequence a candidate, all of it read at once: transformers knows no sharing.
                sequence = torch.tensor([[*question.tokens, *answer]])
                rows = torch.log_softmax(reference(sequence).logits[0].double(), -1)[len(question.tokens) - 1 : -1]
                wanted = rows.gather(1, torch.tensor(answer)[:, None]).sum()
                differences.append(abs(float(wanted) - each.log_probability))
                sums.append(each.log_probability)
        asked, computed = rella.judged_tokens
    with capsys.disabled():
        print(
            f"\nlargest |Δ log P| {max(differences):.2e} of {len(sums)} sums from {min(sums):.1f} to {max(sums):.1f};"
        )
        print(f"prompts of {asked:,} tokens, {computed:,} computed")
    assert len(sums) == PROMPTS * CANDIDATES and max(sums) - min(sums) > 10  # they are told apart
    assert max(differences) <= 1e-3
    assert computed < asked / 3
