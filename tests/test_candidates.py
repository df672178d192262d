from pathlib import Path

import numpy as np
import pytest

from rella_cpp import InputError, Item, ItemIndex, Rella, build_index, load_domain
from rella_cpp.domains.inputs import take_history
from rella_cpp.recommender.candidates import find_candidates, liked

MOVIES = load_domain("movies")
CATALOG = [Item({"id": str(n), "title": f"{word} {n}"}) for n, word in enumerate(["Movie", "Story", "xylophone"] * 20)]


@pytest.fixture
def index(judge: Rella, tmp_path: Path) -> ItemIndex:
    return build_index(judge.vectors, CATALOG, tmp_path / "index")


def history(*rated: tuple[int, float | None]) -> list[dict[str, object]]:
    return [{**CATALOG[n].fields, **({} if rating is None else {"rating": rating})} for n, rating in rated]


def test_liked_is_what_the_domain_says_and_everything_where_nothing_was() -> None:
    def places(*ratings: float | None) -> list[int]:
        return liked([b for _, b in take_history(history(*enumerate(ratings)), MOVIES)], MOVIES)

    assert places(5, 3, 3.5, None, 0.5) == [0, 2, 3]
    assert places(1, 2) == [0, 1]


def test_candidates_are_new_different_from_each_other_and_near_what_was_liked(judge: Rella, index: ItemIndex) -> None:
    past = [b for _, b in take_history(history((0, 5), (1, 1), (2, 4)), MOVIES)]
    vectors = index.vectors([0, 1, 2])
    found = find_candidates(index, past, vectors, MOVIES, 10)
    ids = [candidate.item.fields["id"] for candidate in found]
    assert len(set(ids)) == 10 and not {"0", "1", "2"} & set(ids)
    assert {candidate.near for candidate in found} <= {0, 2}  # what was disliked draws nothing near
    for candidate in found:
        row = index.row(candidate.item, MOVIES)
        assert row is not None
        assert candidate.cosine == pytest.approx(float(index.vectors([row])[0] @ vectors[candidate.near]), abs=2e-3)
    # The first is the nearest of all; all are less alike among themselves than simply the nearest ten would be.
    cosines = np.max(index.vectors(range(3, 60)) @ vectors[[0, 2]].T, axis=1)
    assert found[0].cosine == pytest.approx(cosines.max(), abs=2e-3)
    chosen = index.vectors([int(str(i)) for i in ids])
    plain = index.vectors(np.argsort(-cosines)[:10] + 3)
    assert (chosen @ chosen.T).mean() < (plain @ plain.T).mean()


def test_recommendations_are_judged_and_sorted(exact_judge: Rella, index: ItemIndex) -> None:
    judge = exact_judge
    judge.use_index(index)
    past = history((0, 5), (3, 4), (6, 2))
    found = judge.recommend(past, 4, candidates=12)
    scores = [recommendation.score.probability for recommendation in found]
    assert len(found) == 4 and scores == sorted(scores, reverse=True)
    judged = judge.score(past, found[0].score.item)
    assert judged == found[0].score  # the very score that `score` gives
    assert {recommendation.near for recommendation in found} <= {0, 1}
    assert found[0].as_dict()["near"] == found[0].near
    assert len(judge.recommend(past, 60, candidates=100)) == 57  # all but the seen


def test_what_cannot_be_recommended_is_refused(judge: Rella, index: ItemIndex, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs an index"):
        judge.recommend(history((0, 5)))
    judge.use_index(index)
    with pytest.raises(InputError, match="0 recommendations of 30"):
        judge.recommend(history((0, 5)), 0)
    judge.use_index(build_index(judge.vectors, CATALOG[:2], tmp_path / "tiny"))
    with pytest.raises(InputError, match="was seen"):
        judge.recommend(history((0, 5), (1, 5)))


def test_a_history_from_elsewhere_is_recognised_by_title_and_year(judge: Rella, tmp_path: Path) -> None:
    catalog = [
        Item({"id": "1", "title": "The Thing", "year": 1982, "genres": ["Sci-Fi"]}),
        Item({"id": "2", "title": "The Thing", "year": 2011, "genres": ["Sci-Fi"]}),
        *(Item({"id": str(n), "title": f"Movie {n}", "year": 1990}) for n in range(3, 20)),
    ]
    judge.use_index(build_index(judge.vectors, catalog, tmp_path / "index"))

    def ids(**fields: object) -> set[object]:
        found = judge.recommend([{"rating": 5, **fields}], 19, candidates=19)
        return {recommendation.score.item.fields["id"] for recommendation in found}

    everything = {item.fields["id"] for item in catalog}
    elsewhere = {"title": "the thing", "genres": ["Science Fiction", "Horror"]}
    assert ids(**elsewhere, year=1982) == everything - {"1"}
    assert ids(**elsewhere) == everything - {"1", "2"}  # which of the two it was is not known
    assert ids(**elsewhere, year="1982.0", id=1.0) == everything - {"1"}  # as a table with gaps writes it
    assert ids(**elsewhere, year=1982, id="900") == everything  # another id: another item
