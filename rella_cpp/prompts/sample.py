"""What prompts of a domain look like, with made-up records: to see what a TOML file's words become."""

from collections.abc import Iterable

from rella_cpp.domains.domain import Domain, Field
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.prompts.streams.frame import StreamFrame
from rella_cpp.prompts.streams.text import write_stream
from rella_cpp.prompts.yes_no import write_prompt

_BEHAVIORS = 3


def sample_prompts(domain: Domain) -> dict[str, str]:
    """Return a prompt of each layout that the domain has words for, `question` and `stream`, without a chat template.

    Raises
    ------
    InputError
        A template of the domain fails.

    """
    scale = domain.rating
    ratings: list[float | None] = [None] * _BEHAVIORS
    if scale is not None:
        ratings = [scale.max, scale.min, round((scale.min + scale.max) / 2)]
    user = User({field.name: f"<{field.name}>" for field in domain.user})
    behaviors = [Behavior(_item(domain.item, number), rating) for number, rating in enumerate(ratings, 1)]
    target = _item(domain.item, _BEHAVIORS + 1)
    asked = write_prompt(domain, user, behaviors, target)
    found = {"question": f"{asked.system}\n\n{asked.profile}{asked.history}{asked.target}"}
    if domain.stream is not None:
        spans, _ = StreamFrame(domain).spans(write_stream(domain, user, behaviors, target))
        found["stream"] = "".join(span.text for span in spans)
    return found


def _item(fields: Iterable[Field], number: int) -> Item:
    """Make an item whose fields say what they are; long ones are shown beside summaries only."""
    shown = [field for field in fields if not field.long]
    made = {field.name: f"<{field.name} {number}>" for field in shown}
    return Item({field.name: [made[field.name]] if field.type == "list" else made[field.name] for field in shown})
