"""Chat formats by name: the templates that came with models of their kind."""

from rella_gguf.near_names import unknown_name

_VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
    "{% elif m.role == 'user' %} USER: {{ m.content }}{% else %} ASSISTANT: {{ m.content }}</s>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %} ASSISTANT:{% endif %}"
)
_CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'system' %}[INST] <<SYS>>\n{{ m.content }}\n<</SYS>>\n\n"
    "{% elif m.role == 'user' %}{% if loop.first %}[INST] {% elif loop.previtem.role == 'assistant' %}"
    "<s>[INST] {% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }} </s>{% endif %}{% endfor %}"
)
_ZEPHYR = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
_NONE = (
    "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}"
    "{% else %}{{ '' if loop.first else '\n\n' }}{{ m.content }}{% endif %}{% endfor %}"
)
CHAT_FORMATS = {"vicuna": _VICUNA, "chatml": _CHATML, "llama-2": _LLAMA_2, "zephyr": _ZEPHYR, "none": _NONE}
"""Chat templates by name. `vicuna` is v1.1, whose published system line stands in the template itself."""


def check_chat_format(name: str) -> None:
    """Refuse an unknown chat format.

    Raises
    ------
    InputError
        There is none of that name; the nearest are suggested.

    """
    if name not in CHAT_FORMATS:
        raise unknown_name("chat format", name, CHAT_FORMATS)
