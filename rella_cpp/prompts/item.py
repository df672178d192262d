"""An item → the text that its vector is made of."""

from os.path import commonprefix

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.prompts.rendering import render_part

_ITEM = (
    "{{ domain.noun | capitalize }}."
    "{% for field in shown %} {{ field.label }}: {{ field.value }}{{ '' if field.value[-1] in '.!?' else '.' }}"
    "{% endfor %}"
)


def item_text(domain: Domain, item: Item) -> str:
    """Return the text whose mean hidden state is the item's vector (ReLLa §3.2): all that the domain shows of it."""
    fields = domain.item_fields(item)
    shown = [
        {"label": entry.label or entry.name.capitalize(), "value": fields[entry.name]}
        for entry in domain.item
        if entry.name in fields and not entry.long
    ]
    names = {"domain": domain, "item": {"text": domain.show_item(item), "fields": fields}, "shown": shown}
    return render_part(domain, "item", domain.templates.item or _ITEM, names)


def item_start(domain: Domain) -> str:
    """Return the words with which item texts of this domain begin whatever the item, as far as the wording tells.

    A function of the domain alone, so that a text is cut at the same place whatever other items there are.
    """
    names = [entry.name for entry in domain.item if entry.required]
    return commonprefix([item_text(domain, Item(dict.fromkeys(names, word))) for word in ("A", "B")])
