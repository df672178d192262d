"""From hidden states to the index's vectors: PCA (ReLLa §3.2), then unit length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.machine.address_space import check_room, warm_scipy
from rella_cpp.errors import InputError

_SAMPLE = 20_000  # rows that PCA is fitted on at most: its components hardly change beyond


@dataclass(frozen=True, slots=True)
class Projection:
    """Centers vectors and turns them to their principal components.

    Attributes
    ----------
    mean
        float32 of shape (n_embd,).
    components
        float32 of shape (dim, n_embd), orthonormal rows.
    explained
        Share of the variance that the components hold.

    """

    mean: npt.NDArray[np.float32]
    components: npt.NDArray[np.float32]
    explained: float

    @classmethod
    def fit(cls, vectors: npt.NDArray[np.float32], dim: int) -> Self:
        """Fit on vectors, float32 of shape (n, n_embd); of many, on a fixed sample of 20,000.

        The dimension is `dim`, or what the width or the number of vectors allows.
        """
        warm_scipy()
        from sklearn.decomposition import PCA  # takes seconds to import

        check_room()
        rows = np.arange(len(vectors))
        if len(rows) > _SAMPLE:
            rows = np.sort(np.random.default_rng(0).choice(len(vectors), _SAMPLE, replace=False))
        sample = np.asarray(vectors[rows], dtype=np.float64)
        dim = min(dim, sample.shape[1], len(sample))
        if (sample == sample[0]).all():  # nothing varies: any directions serve, take the items' own
            length = np.linalg.norm(sample[0]) or 1.0
            return cls(np.zeros(sample.shape[1], np.float32), (sample[:dim] / length).astype(np.float32), 1.0)
        pca = PCA(dim, svd_solver="covariance_eigh" if len(sample) >= sample.shape[1] else "full").fit(sample)
        explained = float(np.nan_to_num(pca.explained_variance_ratio_.sum(), nan=1.0))
        return cls(pca.mean_.astype(np.float32), pca.components_.astype(np.float32), explained)

    def __call__(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Project vectors, float32 of shape (n, n_embd), to unit vectors of shape (n, dim).

        Each row alone, so that its bits do not depend on the rows beside it.
        """
        projected = np.zeros((len(vectors), len(self.components)))
        for number, row in enumerate(vectors):
            projected[number] = self.components @ (row - self.mean)
        lengths = np.linalg.norm(projected, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = (projected / np.where(lengths > 0, lengths, 1)).astype(np.float32)
        return unit

    def save(self, path: Path) -> None:
        """Write it as an .npz file."""
        with path.open("wb") as file:
            np.savez(file, mean=self.mean, components=self.components, explained=np.float64(self.explained))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back.

        Raises
        ------
        InputError
            The file is missing or damaged.

        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                return cls(arrays["mean"], arrays["components"], float(arrays["explained"]))
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise InputError(f"cannot be read ({error})", source=path, remedy="build the index again") from None
        except Exception as error:  # zipfile's own
            raise InputError(f"is damaged ({error})", source=path, remedy="build the index again") from None
