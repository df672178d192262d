"""What every drawing of samples or users checks first."""

from rella_cpp.errors import InputError


def check_drawing(limit: int | None, seed: int, noun: str, *, name: str = "limit") -> None:
    """Refuse a limit or a seed out of its range.

    Raises
    ------
    InputError
        One is.

    """
    if limit is not None and limit < 1:
        raise InputError(f"{name} is {limit}", remedy=f"give at least 1 {noun}, or leave it out")
    check_seed(seed)


def check_seed(seed: int) -> None:
    """Refuse a seed out of its range.

    Raises
    ------
    InputError
        It is.

    """
    if seed < 0:
        raise InputError(f"seed is {seed}", remedy="give 0 or more")
