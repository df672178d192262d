"""JSON of finite numbers."""

import json
import math


class NotFinite(ValueError):
    """JSON holds NaN, an infinity or a number beyond every float; `name` is how it is written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"it holds {name}")


def loads(text: str | bytes, *, nan_is_null: bool = False) -> object:
    """Parse JSON; a number that is not finite raises NotFinite, but for NaN where it is taken for null."""

    def refuse(name: str) -> None:
        if name != "NaN" or not nan_is_null:
            raise NotFinite(name)

    def number(digits: str) -> float:
        if not math.isfinite(float(digits)):
            raise NotFinite(digits)
        return float(digits)

    return json.loads(text, parse_constant=refuse, parse_float=number)
