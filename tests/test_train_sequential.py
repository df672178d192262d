import importlib.util
import subprocess
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rella_cpp import DataSet
from rella_cpp.datasets.leave_one_out import LeaveOneOut

EXAMPLE = Path(__file__).parent.parent / "examples/train_sequential.py"


@pytest.fixture(scope="module")
def example() -> Any:
    spec = importlib.util.spec_from_file_location("train_sequential", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # without RecTools, which it imports when it trains
    return module


def spoiled_from(data: DataSet, user: int, position: int) -> Any:
    """Return the data with other items wherever the user's position is reached, and for all other users."""
    known = data.interactions
    start = int(known.starts[user])
    item = (known.item + 1) % data.items.num_rows
    item[start : start + position] = known.item[start : start + position]
    return SimpleNamespace(interactions=replace(known, item=item))


def test_a_list_is_made_from_what_stands_before_its_target_alone(example: Any, small_data: DataSet) -> None:
    given = Namespace(seed=1, limit_users=None, train_users=None, train_positions=3)
    users, positions = example.targets(small_data, given)
    for length in (1, 4, 100):
        made = example.histories(small_data, users, positions, length)
        for target, (user, position) in enumerate(zip(users.tolist(), positions.tolist(), strict=True)):
            mine = made["user_id"] == target
            start = int(small_data.interactions.starts[user])
            past = small_data.interactions.item[start : start + position][-length:]
            assert made["item_id"][mine].tolist() == past.tolist()
            assert np.all(np.diff(made["datetime"][mine]) > np.timedelta64(0))
    # The proof by change: whatever the target, what comes later and other users become, the history is the same.
    for target in range(0, len(users), 7):
        user, position = users[target : target + 1], positions[target : target + 1]
        other = spoiled_from(small_data, int(user[0]), int(position[0]))
        before, after = (example.histories(data, user, position, 50) for data in (small_data, other))
        assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_targets_are_test_validation_and_the_latest_of_training(example: Any, small_data: DataSet) -> None:
    given = Namespace(seed=0, limit_users=None, train_users=10, train_positions=2)
    users, positions = example.targets(small_data, given)
    left = LeaveOneOut(small_data)
    lengths = np.diff(small_data.interactions.starts)
    found = set(zip(users.tolist(), positions.tolist(), strict=True))
    assert len(found) == len(users) == 2 * len(left.users) + 2 * 10
    back: dict[int, set[int]] = {}
    for user, position in found:
        back.setdefault(user, set()).add(int(lengths[user]) - position)
    assert set(back) == set(left.users.tolist())
    assert sorted(map(len, back.values())) == [2] * (len(back) - 10) + [4] * 10
    assert all(steps in ({1, 2}, {1, 2, 3, 4}) for steps in back.values())
    assert list(zip(users, positions, strict=True)) == sorted(zip(users, positions, strict=True))
    few = example.targets(small_data, Namespace(seed=0, limit_users=4, train_users=None, train_positions=1))
    assert len(set(few[0].tolist())) == 4 and len(few[0]) == 12


@pytest.mark.parametrize("length", [3, 5, 50])
def test_training_reads_no_test_target_and_each_other_interaction_once(
    example: Any, small_data: DataSet, length: int
) -> None:
    columns, validates = example.training_rows(small_data, length)
    left, known = LeaveOneOut(small_data), small_data.interactions
    rows = columns["datetime"].astype("datetime64[s]").astype(np.int64)  # times are row numbers
    tested = known.starts[left.users] + left.positions("test")
    assert sorted([*rows.tolist(), *tested.tolist()]) == list(range(len(known.item)))
    assert rows[validates].tolist() == (known.starts[left.users] + left.positions("valid")).tolist()
    assert np.array_equal(columns["item_id"], known.item[rows])
    owner = np.searchsorted(known.starts, rows, side="right") - 1
    for stretch in np.unique(columns["user_id"]).tolist():
        mine = columns["user_id"] == stretch
        assert mine.sum() <= length + 1 and len(set(owner[mine].tolist())) == 1
        assert np.all(np.diff(rows[mine]) == 1)
        # A validation target stands last, and what is before it is the user's own latest.
        assert not validates[mine][:-1].any()
    for row in rows[validates].tolist():
        mine = columns["user_id"] == columns["user_id"][rows == row]
        user = int(owner[rows == row][0])
        assert mine.sum() == min(length + 1, row - int(known.starts[user]) + 1)


def test_what_is_refused_is_one_line(tmp_path: Path) -> None:
    asked = [sys.executable, str(EXAMPLE), str(tmp_path / "nowhere"), "-o", str(tmp_path / "lists.parquet")]
    refused = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"{tmp_path / 'nowhere'}: no such folder; ") and refused.stderr.count("\n") == 1
