"""JSON of finite numbers."""

import json
import math
from typing import NoReturn


class NotFinite(ValueError):
    """JSON holds NaN, an infinity or a number beyond every float; `name` is how it is written."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"it holds {name}")


def loads(text: str | bytes) -> object:
    """Parse JSON; a number that is not finite raises NotFinite."""

    def refuse(name: str) -> NoReturn:
        raise NotFinite(name)

    def number(digits: str) -> float:
        return float(digits) if math.isfinite(float(digits)) else refuse(digits)

    return json.loads(text, parse_constant=refuse, parse_float=number)
