"""Train SASRec (or BERT4Rec) on a prepared data set with RecTools, and write what it expects next as a table.

    pip install -e '.[train]'
    python examples/train_sequential.py ml-1m -o sasrec.parquet
    rella data import-ranking sasrec.parquet --data ml-1m -o sasrec-ml1m --name SASRec

Each user's last interaction tests and the one before validates; what stands before trains (users with fewer than five
interactions only train). The epoch kept is the one with the lowest loss on the validation targets; test targets are
never read. The table has a row for each target: user, position, items (the best first) and scores, made from what
stands before the target alone. The targets at training positions are among what the model was trained on: it ranks
them better than it ranks what is new.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp import DataSet, InputError, LeaveOneOut, RellaError

Ints = npt.NDArray[np.int64]
CHUNK = 500  # targets whose lists are made at a time


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it stands, and each option's default."""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Help)
    parser.add_argument("data", type=Path, help="prepared data set")
    parser.add_argument("-o", "--out", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--model", choices=("sasrec", "bert4rec"), default="sasrec", help="recommender")
    parser.add_argument("--factors", type=int, default=64, help="width of the model")
    parser.add_argument("--blocks", type=int, default=2, help="layers of the model")
    parser.add_argument("--heads", type=int, default=2, help="attention heads of a layer")
    parser.add_argument("--dropout", type=float, default=0.2, help="share of units dropped in training")
    parser.add_argument("--session", type=int, default=50, help="latest interactions that are read of a user")
    parser.add_argument("--batch", type=int, default=64, help="stretches a step")
    parser.add_argument("--lr", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--epochs", type=int, default=100, help="times through the data, at most")
    parser.add_argument("--patience", type=int, default=3, help="epochs without a lower loss before it stops")
    parser.add_argument("--depth", type=int, help="items a list; else all that were trained on")
    parser.add_argument("--train-positions", type=int, default=1, help="training targets a user, the latest ones")
    parser.add_argument("--limit-users", type=int, help="users whose lists are written, drawn at random; else all")
    parser.add_argument("--train-users", type=int, help="of these, users with lists at training targets; else all")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights, the order and the users drawn")
    return parser.parse_args()


def training_rows(data: DataSet, length: int) -> tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.bool_]]:
    """Return the interactions that train or validate, as RecTools' columns, and which ones validate.

    A long history is cut, from its end, into stretches of `length` and one more, each a user of its own: RecTools would
    train on the last stretch alone.
    """
    known, left = data.interactions, LeaveOneOut(data)
    validates = np.zeros(len(known.item), np.bool_)
    validates[known.starts[left.users] + left.positions("valid")] = True
    rows = np.flatnonzero(left.trains() | validates)
    users = np.searchsorted(known.starts, rows, side="right") - 1
    stretches = np.maximum(known.starts[users + 1] - 2 - rows, 0) // (length + 1)  # 0: up to the validation target
    return _columns(known.starts[users] + stretches, known.item[rows], rows), validates[rows]


def targets(data: DataSet, given: argparse.Namespace) -> tuple[Ints, Ints]:
    """Return the users and positions that lists are made for, sorted: test, validation, the latest training ones."""
    left = LeaveOneOut(data)
    drawn = np.random.default_rng(given.seed).permutation(len(left.users))[: given.limit_users]
    chosen = [(drawn, left.positions("test")[drawn]), (drawn, left.positions("valid")[drawn])]
    trained = drawn[: given.train_users]
    for back in range(given.train_positions):
        position = left.positions("train")[trained] - back
        chosen.append((trained[position > 0], position[position > 0]))  # nothing stands before the first
    users, positions = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
    order = np.lexsort((positions, users))
    return left.users[users[order]], positions[order]


def histories(data: DataSet, users: Ints, positions: Ints, length: int) -> dict[str, npt.NDArray[Any]]:
    """Return what stands before each target, its latest `length` interactions, as RecTools' columns.

    Each target is a user of its own, by its number: whatever comes at or after the position cannot leak into its list.
    """
    ends = data.interactions.starts[users] + positions
    counts = np.minimum(positions, length)
    numbers = np.repeat(np.arange(len(users)), counts)
    steps = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    rows = np.repeat(ends - counts, counts) + steps
    return _columns(numbers, data.interactions.item[rows], rows)


def _columns(users: Ints, items: npt.NDArray[np.integer[Any]], order: Ints) -> dict[str, npt.NDArray[Any]]:
    """Return columns by RecTools' names; the rows' numbers stand for times, which may be missing or the same."""
    when = order.astype("datetime64[s]").astype("datetime64[ns]")
    return {"user_id": users, "item_id": items.astype(np.int64), "weight": np.ones(len(users)), "datetime": when}


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr, flush=True)


def train(data: DataSet, given: argparse.Namespace, folder: str) -> Any:
    """Train a model, and go back to the epoch with the lowest validation loss; `folder` takes its weights."""
    import pandas as pd
    from pytorch_lightning import Trainer, seed_everything
    from pytorch_lightning.callbacks import EarlyStopping, LambdaCallback, ModelCheckpoint
    from rectools.dataset import Dataset
    from rectools.models import BERT4RecModel, SASRecModel

    def tell(trainer: Any, _module: Any) -> None:
        seen = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        say(f"epoch {trainer.current_epoch + 1}: " + ", ".join(f"{name} {value:.4f}" for name, value in seen.items()))

    def trainer() -> Trainer:
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        stop = EarlyStopping("val_loss", patience=given.patience)
        keep = ModelCheckpoint(folder, monitor="val_loss", save_weights_only=True)
        told = LambdaCallback(on_train_epoch_end=tell)
        return Trainer(max_epochs=given.epochs, devices=1, callbacks=[told, stop, keep], **quiet)

    seed_everything(given.seed, verbose=False)
    columns, validates = training_rows(data, given.session)
    model = (SASRecModel if given.model == "sasrec" else BERT4RecModel)(
        n_factors=given.factors,
        n_blocks=given.blocks,
        n_heads=given.heads,
        dropout_rate=given.dropout,
        session_max_len=given.session,
        batch_size=given.batch,
        lr=given.lr,
        loss="softmax",
        get_val_mask_func=lambda _interactions: validates,
        get_trainer_func=trainer,
    )
    model.fit(Dataset.construct(pd.DataFrame(columns)))
    kept = model.fit_trainer.checkpoint_callback
    model.load_weights_from_checkpoint(kept.best_model_path)
    say(f"lowest validation loss {float(kept.best_model_score):.4f}")
    return model


def lists(model: Any, data: DataSet, given: argparse.Namespace) -> Iterator[Any]:
    """Yield tables of lists, some targets at a time; a target whose history holds no item of the training has none."""
    import pandas as pd
    import pyarrow as pa
    from rectools.dataset import Dataset

    users, positions = targets(data, given)
    user_ids, item_ids = data.users["id"].combine_chunks(), data.items["id"].combine_chunks()
    for start in range(0, len(users), CHUNK):
        user, position = users[start : start + CHUNK], positions[start : start + CHUNK]
        dataset = Dataset.construct(pd.DataFrame(histories(data, user, position, given.session)))
        known, depth = dataset.user_id_map.external_ids, given.depth or data.items.num_rows
        found = model.recommend(known, dataset, depth, filter_viewed=False, on_unsupported_targets="ignore")
        found = found.sort_values(["user_id", "rank"])
        target, counts = np.unique(found["user_id"].to_numpy(), return_counts=True)
        cuts = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
        items = pa.DictionaryArray.from_arrays(found["item_id"].to_numpy().astype(np.int32), item_ids)
        columns = {
            "user": user_ids.take(pa.array(user[target])),
            "position": position[target],
            "items": pa.ListArray.from_arrays(cuts, items.cast(pa.string())),
            "scores": pa.ListArray.from_arrays(cuts, pa.array(found["score"].to_numpy())),
        }
        yield pa.table(columns)
        say(f"lists: {start + len(user):,} of {len(users):,} targets")


def main() -> None:
    """Train and write."""
    given = options()
    from pyarrow import parquet

    if given.out.exists():
        raise InputError("is there already", source=given.out, remedy="remove it, or name another file")
    data = DataSet.open(given.data)
    if not len(LeaveOneOut(data).users):
        raise InputError("no user has five interactions", source=given.data, remedy="prepare a larger data set")
    with tempfile.TemporaryDirectory() as folder:
        model = train(data, given, folder)
    part, tables = given.out.with_name(f"{given.out.name}.part"), lists(model, data, given)
    first = next(tables)
    with parquet.ParquetWriter(part, first.schema, compression="zstd") as writer:
        for table in chain([first], tables):
            writer.write_table(table)
    part.replace(given.out)
    say(f"written: {given.out}")


if __name__ == "__main__":
    try:
        main()
    except RellaError as refused:
        print(refused, file=sys.stderr)
        raise SystemExit(2) from None
