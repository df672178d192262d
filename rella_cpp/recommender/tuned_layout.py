"""How prompts are laid out for adapters that say what they were tuned on."""

from pathlib import Path
from typing import NamedTuple

from rella_cpp.adapters.lora import Adapters, merged_into, records_of
from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.prompts.layout import Layout, check_layout
from rella_cpp.prompts.yes_no import Order
from rella_cpp.retrieval.selection import DEFAULTS, Retrieval, Window


class TunedLayout(NamedTuple):
    """A layout, and which behaviors its prompts show unless something else is wanted; None: the layout's own."""

    layout: Layout
    k: int
    retrieval: Retrieval | None = None
    order: Order = "time"
    window: Window | None = None

    @classmethod
    def of(cls, layout: "Layout | TunedLayout") -> "TunedLayout":
        """Take one as it is, or a layout with its own K."""
        return layout if isinstance(layout, TunedLayout) else cls(layout, DEFAULTS[layout][0])


def tuned_layout(
    wanted: Layout | None, adapters: Adapters, domain: Domain | None = None, base: str | Path | None = None
) -> TunedLayout:
    """Return the layout wanted; None: that of the rows that adapters were tuned on, else `question`.

    K is that of the rows where they are of that layout, too.

    Parameters
    ----------
    wanted
        The layout, if one is wanted.
    adapters
        GGUF files or PEFT folders. One that cannot be read, or has no record, says nothing.
    base
        The model: adapters that were merged into it count, too.
    domain
        Must say how a stream is written, if it comes to that.

    Raises
    ------
    InputError
        There is no such layout, the adapters were tuned on several, or the domain does not have it.

    """
    if wanted is not None:
        check_layout(wanted)
    found: dict[str, int | None] = {}
    for record in [*([] if base is None else merged_into(base)), *records_of(adapters)]:
        samples = record.get("samples")
        k = samples.get("k") if isinstance(samples, dict) else None
        found.setdefault(str(record.get("layout", "question")), k if isinstance(k, int) and k > 0 else None)
    if wanted is None and len(found) > 1:
        raise InputError(f"the adapters were tuned on the layouts {', '.join(found)}", remedy="name one with --layout")
    layout: Layout = wanted or ("stream" if "stream" in found else "question")
    if layout == "stream" and domain is not None:
        domain.stream_words()
    tuned_k = found.get(layout) if layout == "stream" else None
    return TunedLayout(layout, tuned_k or DEFAULTS[layout][0])
