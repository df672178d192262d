"""Items' mean ratings as they were known: against brute force, and that nothing of a test or of later is in them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from look_alikes import Rating, ml_1m, random_ratings, write_files
from test_datasets_real import real

from rella_cpp import (
    DataSet,
    EventColumns,
    Interactions,
    PrepareOptions,
    Recipe,
    RecordColumns,
    SampleRules,
    Samples,
    prepare,
)
from rella_cpp.datasets.averages import (
    SMOOTHING,
    final_averages,
    item_averages,
    running_averages,
    training_rows,
    within,
)
from rella_cpp.datasets.sampling import samples_by_time, samples_by_users, users_of

MIDDLE = 2.75
ITEMS = 4
STARS = [*(step / 2 for step in range(1, 11)), 3.7, 4.1]
Marks = npt.NDArray[np.bool_]
Averages = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """Interactions, whose samples are split by users or by time."""

    known: Interactions
    samples: Samples
    by_users: bool

    @property
    def training(self) -> Marks:
        return training_rows(self.known, self.samples, by_users=self.by_users)

    def averages(self, ratings: npt.NDArray[np.float32] | None = None) -> Averages:
        known = self.known if ratings is None else replace(self.known, rating=ratings)
        return running_averages(known, self.training, MIDDLE)


def interactions(users: Sequence[Sequence[tuple[int, int, float | None]]]) -> Interactions:
    """Make interactions of (item, time, rating), of several users."""
    rows = [row for user in users for row in sorted(user, key=lambda row: (row[1], row[0]))]
    return Interactions(
        np.array([item for item, _, _ in rows], np.int32),
        np.array([np.nan if rating is None else rating for _, _, rating in rows], np.float32),
        np.array([time for _, time, _ in rows], np.int64),
        np.cumsum([0, *map(len, users)]).astype(np.int64),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # Few moments, items and users: ties, items that nobody rated before, and users without a sample abound.
    rating = st.sampled_from([None, *STARS])
    row = st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 6), rating)
    known = interactions(draw(st.lists(st.lists(row, max_size=6), min_size=1, max_size=6)))
    labels = np.array([draw(st.sampled_from([-1, 0, 1])) for _ in known.item], np.int8)
    by_users, least = draw(st.booleans()), draw(st.integers(0, 2))
    if by_users:
        samples = samples_by_users(known, labels, least, [1, 1, 1], draw(st.integers(0, 9)))
    else:
        samples = samples_by_time(known, labels, least, [1, 1, 1])
    return Case(known, samples, by_users)


def times(known: Interactions) -> npt.NDArray[np.int64]:
    assert known.timestamp is not None
    return known.timestamp


def smoothed(rated: Sequence[tuple[int, float]], item: int) -> np.float32:
    """Return the mean of an item's ratings, in exact numbers up to the last step."""
    every = [Fraction(str(round(rating, 6))) for _, rating in rated]
    own = [rating for (one, _), rating in zip(rated, every, strict=True) if one == item]
    mean = Fraction(sum(every), len(every)) if every else Fraction(MIDDLE)
    return np.float32(float((sum(own) + SMOOTHING * mean) / (len(own) + SMOOTHING)))


def by_brute_force(case: Case) -> list[np.float32]:
    known, training = case.known, case.training
    rows = list(zip(known.item.tolist(), known.ratings().tolist(), times(known).tolist(), training, strict=True))
    found = []
    for item, _, time, trains in rows:
        seen = [(i, r) for i, r, t, mine in rows if mine and r == r and (not trains or t < time)]
        found.append(smoothed(seen, item))
    return found


def near(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Tell whether numbers are the same, but for the last bit of a float32."""
    return np.allclose(one, other, rtol=1.2e-7, atol=0)


def bits(averages: Averages) -> list[int]:
    return [int(each) for each in averages.view(np.int32)]


@given(cases())
def test_running_averages_are_those_of_brute_force(case: Case) -> None:
    assert near(case.averages(), by_brute_force(case))


@given(cases())
def test_final_averages_are_those_of_brute_force_and_what_held_out_rows_see(case: Case) -> None:
    known, training = case.known, case.training
    found = final_averages(known, training, ITEMS, MIDDLE)
    rated = [(int(i), float(r)) for i, r, mine in zip(known.item, known.ratings(), training, strict=True) if mine]
    assert near(found, [smoothed([(i, r) for i, r in rated if r == r], item) for item in range(ITEMS)])
    assert bits(found[known.item[~training]]) == bits(case.averages()[~training])


@given(cases())
def test_what_trains_is_of_the_training_split_or_of_none_and_before_what_is_held_out(case: Case) -> None:
    known, samples, training = case.known, case.samples, case.training
    split = dict(zip((known.starts[samples.user] + samples.position).tolist(), samples.split.tolist(), strict=True))
    held_out = [row for row, number in split.items() if number]
    user = users_of(known)
    for row, trains in enumerate(training):
        if row in split:
            assert trains == (split[row] == 0)
        elif case.by_users:
            assert trains == all(user[row] != user[other] for other in held_out)
        else:
            assert trains == all(times(known)[row] < times(known)[other] for other in held_out)


@given(cases(), st.data())
def test_a_rating_changes_no_average_of_its_own_row_or_of_an_earlier_one(case: Case, data: st.DataObject) -> None:
    known, training = case.known, case.training
    moment = data.draw(st.integers(0, 6), label="from this time on, ratings change")
    changed = known.ratings().copy()
    for row in np.flatnonzero(times(known) >= moment):
        changed[row] = data.draw(st.sampled_from([np.nan, *STARS]))
    kept = training & (times(known) <= moment)  # at the moment itself are those whose own rating changes
    assert bits(case.averages(changed)[kept]) == bits(case.averages()[kept])


@given(cases(), st.data())
def test_what_does_not_train_changes_no_average_at_all(case: Case, data: st.DataObject) -> None:
    changed = case.known.ratings().copy()
    for row in np.flatnonzero(~case.training):
        changed[row] = data.draw(st.sampled_from([np.nan, *STARS]))
    assert bits(case.averages(changed)) == bits(case.averages())
    final = [
        final_averages(replace(case.known, rating=each), case.training, ITEMS, MIDDLE)
        for each in (case.known.ratings(), changed)
    ]
    assert bits(final[0]) == bits(final[1])


def test_ratings_at_one_time_do_not_see_each_other() -> None:
    known = interactions([[(0, 1, 5.0)], [(0, 1, 3.0)], [(0, 2, 4.0)], [(1, 2, 1.0)], [(1, 3, None)]])
    found = running_averages(known, np.ones(5, np.bool_), 4.0)
    # The second item has none before time 3: the mean of all, (5 + 3) / 2, then (1 + 5 · 13 / 4) / 6.
    assert found.tolist() == pytest.approx([4, 4, 4, 4, 17.25 / 6])


def test_users_without_a_sample_train_where_users_are_split_and_early_ones_where_time_is() -> None:
    known = interactions([[(0, 1, 1.0), (0, 9, 1.0)], [(1, 1, 5.0), (1, 4, 5.0)], [(2, 5, 2.0)], [(2, 3, 2.0)]])
    one = np.array([1])
    held_out = Samples(*(one.astype(np.int32),) * 3, one.astype(np.int8), np.array([2], np.uint8))
    assert training_rows(known, held_out, by_users=True).tolist() == [True, True, False, False, True, True]
    assert training_rows(known, held_out, by_users=False).tolist() == [True, False, True, False, False, True]


def test_without_samples_all_train() -> None:
    known, none = interactions([[(0, 1, 1.0)]]), Samples(*(np.zeros(0, np.int32),) * 4, np.zeros(0, np.uint8))  # type: ignore[arg-type]
    for by_users in (False, True):
        assert training_rows(known, none, by_users=by_users).tolist() == [True]
    empty = interactions([[]])
    assert running_averages(empty, np.zeros(0, np.bool_), 3).shape == (0,)
    assert final_averages(empty, np.zeros(0, np.bool_), 2, 3).tolist() == [3, 3]


def test_data_without_times_or_ratings_has_no_averages() -> None:
    known, none = interactions([[(0, 1, 1.0)]]), Samples(*(np.zeros(0, np.int32),) * 4, np.zeros(0, np.uint8))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no times"):
        running_averages(replace(known, timestamp=None), np.ones(1, np.bool_), 3)
    with pytest.raises(ValueError, match="no ratings"):
        running_averages(replace(known, rating=None), np.ones(1, np.bool_), 3)
    with pytest.raises(ValueError, match="without times"):
        training_rows(replace(known, timestamp=None), none, by_users=False)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_scale_overflows_nothing(sign: int) -> None:
    # In millionths, 9,224 ratings of 1e9 are more than an int64 holds.
    count = 20_000
    known = interactions([[(0, time, sign * 1e9) for time in range(count)]])
    training = np.ones(count, np.bool_)
    assert running_averages(known, training, sign * 1e9).tolist() == [sign * 1e9] * count
    assert final_averages(known, training, 1, 0).tolist() == [sign * 1e9]


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_ends_of_a_scale_as_float32_lie_within_it(one: float, other: float) -> None:
    low, high = sorted([one, other])
    least, most = within(low, high)
    assert float(least) >= low and float(most) <= high
    assert (
        float(np.nextafter(least, np.float32(-np.inf))) < low and float(np.nextafter(most, np.float32(np.inf))) > high
    )


AVERAGES = PrepareOptions(averages=True)
RATINGS = random_ratings(5, users=20, movies=12)


def prepared(folder: Path, ratings: Sequence[Rating] = RATINGS, options: PrepareOptions = AVERAGES) -> DataSet:
    folder.mkdir(exist_ok=True)
    source = write_files(folder / "ml-1m.zip", ml_1m(ratings, users=20))
    return prepare("ml-1m", source, folder / "out", options=options, force=True)


def column(data: DataSet) -> Averages:
    assert data.interactions.average is not None
    return data.interactions.average


def test_a_prepared_data_set_has_the_column_and_says_how(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    assert data.manifest["rules"]["averages"] == {"smoothing": 5, "middle": MIDDLE}
    case = Case(data.interactions, data.samples, by_users=False)
    assert near(column(data), by_brute_force(case)) and len(set(column(data).tolist())) > 20
    assert column(data).min() >= 0.5 and column(data).max() <= 5


def test_a_later_rating_in_the_files_changes_no_earlier_average(tmp_path: Path) -> None:
    data = prepared(tmp_path / "one")
    moment = int(np.median(times(data.interactions)))
    other = [replace(each, rating=6 - each.rating) if each.timestamp >= moment else each for each in RATINGS]
    again = prepared(tmp_path / "other", other)
    training = training_rows(data.interactions, data.samples, by_users=False)
    kept = training & (times(data.interactions) <= moment)
    assert bits(column(again)[kept]) == bits(column(data)[kept]) and bits(column(again)) != bits(column(data))
    # Changes of held-out ratings alone reach nothing.
    first = int(times(data.interactions)[~training].min())
    late = [replace(each, rating=6 - each.rating) if each.timestamp > first else each for each in RATINGS]
    assert bits(column(prepared(tmp_path / "late", late))) == bits(column(data))


def test_records_carry_the_averages(tmp_path: Path) -> None:
    data = prepared(tmp_path)
    samples, known = data.samples, data.interactions
    for sample in (0, len(samples.user) // 2, len(samples.user) - 1):
        row = int(known.starts[samples.user[sample]] + samples.position[sample])
        average = round(float(column(data)[row]), 6)
        target = data.target(sample)
        assert target.average == average
        assert target.fields == {**data.item(int(samples.item[sample])).fields, "average": average}
        history = data.history(int(samples.user[sample]), int(samples.position[sample]))
        assert [each.average for each in history] == [
            round(float(x), 6) for x in column(data)[row - len(history) : row]
        ]
    training = training_rows(known, samples, by_users=False)
    averages = item_averages(data, training)
    assert averages is not None and bits(averages) == bits(final_averages(known, training, len(data.items), MIDDLE))
    assert data.candidate(3, averages).average == round(float(averages[3]), 6)
    assert "average" not in data.item(3).fields and data.candidate(3, None) is data.item(3)


def test_without_the_option_all_is_as_before(tmp_path: Path) -> None:
    plain, data = prepared(tmp_path / "plain", options=PrepareOptions()), prepared(tmp_path / "averages")
    same = {name: digest for name, digest in plain.manifest["files"].items() if name != "interactions.parquet"}
    assert {name: data.manifest["files"][name] for name in same} == same
    assert {**data.manifest["rules"], "averages": None} == {**plain.manifest["rules"], "averages": None}
    assert "averages" not in plain.manifest["rules"] and plain.interactions.average is None
    names = ["user", "item", "rating", "timestamp"]
    assert plain._read("interactions.parquet").column_names == names
    assert data._read("interactions.parquet").column_names == [*names, "average"]
    assert item_averages(plain, np.ones(len(RATINGS), np.bool_)) is None
    assert plain.target(0) is plain.item(int(plain.samples.item[0]))
    assert all(each.average is None for each in plain.history(0, 9))


def test_ml_1m_has_averages_as_they_were_known(tmp_path: Path) -> None:
    source = real("ml-1m.zip")
    data = prepare("ml-1m", source, tmp_path / "out", options=AVERAGES)
    plain = prepare("ml-1m", source, tmp_path / "plain")
    assert data.manifest["files"]["samples.parquet"] == plain.manifest["files"]["samples.parquet"]
    known = data.interactions
    training, rating, when = training_rows(known, data.samples, by_users=False), known.ratings(), times(known)
    assert 776_007 < training.sum() < 810_000 and not training[when > when[training].max()].any()
    dice = np.random.default_rng(0)
    for row in [*dice.choice(np.flatnonzero(training), 20), *dice.choice(np.flatnonzero(~training), 20)]:
        seen = training & (when < when[row]) if training[row] else training
        own = rating[seen & (known.item == known.item[row])].astype(np.float64)
        mean = rating[seen].astype(np.float64).mean()
        assert column(data)[row] == pytest.approx((own.sum() + 5 * mean) / (len(own) + 5), rel=1e-6)


def test_a_table_that_is_split_by_users_keeps_held_out_users_out(tmp_path: Path) -> None:
    lines = [f"{each.user},{each.item},{each.rating},{each.timestamp},Film {each.item}" for each in RATINGS]
    (tmp_path / "events.csv").write_text("\n".join(["user,item,stars,when,title", *lines]))
    columns = EventColumns("user", "item", rating="stars", timestamp="when")
    rules = SampleRules(liked_above=3, min_history=3, split=(2, 1, 1), by="users")
    recipe = Recipe(interactions=columns, items=RecordColumns("item", fields={"title": "title"}), rules=rules)
    options = PrepareOptions(averages=True, recipe=recipe)
    data = prepare("table", tmp_path / "events.csv", tmp_path / "out", options=options)
    case = Case(data.interactions, data.samples, by_users=True)
    held_out = np.isin(users_of(data.interactions), data.samples.user[data.samples.split > 0])
    assert near(column(data), by_brute_force(case)) and (case.training == ~held_out).all() and held_out.any()
    assert len(set(data.samples.user.tolist())) < len(data.users)  # some have no sample, and train
