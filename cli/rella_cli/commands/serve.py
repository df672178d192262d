"""`rella serve`: requests by HTTP, planned together as they wait."""

import ipaddress
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated

from rella_cli.options.bundle import with_bundle
from rella_cli.options.engine import EngineOptions
from rella_cli.options.groups import with_groups, without
from rella_cli.options.model import ModelOptions
from rella_cli.options.selection import LayoutOptions, ReadingOptions
from rella_cli.options.serving import ServingOptions
from rella_cli.signals import ending_quietly

_BACKLOG = 1024

if TYPE_CHECKING:
    from rella_cpp import Rella, Selection


@partial(with_bundle, shipped=True)
@with_groups
def serve(
    serving: ServingOptions,
    reading: Annotated[ReadingOptions, without("by")],
    layout: LayoutOptions,
    model: ModelOptions,
    engine: EngineOptions,
) -> None:
    """Answer apps by HTTP on this machine: rerank (as Jina and Cohere do), score, rank, recommend, explain.

    What waits is planned together. docs/serving.md has the routes. Ctrl-C or SIGTERM ends it; what was taken is
    answered first.
    """
    from rella_cpp import load_domain

    serving.check()
    _check_extra()
    engine.settings()
    tuned = layout.tuned(model)
    selection = reading.selection(layout, tuned)
    words = load_domain(serving.domain)
    with (
        ending_quietly(at=("SIGTERM", "SIGINT")) as be_ready,
        _listen(serving) as listening,
        model.open(words, engine, layout=tuned.layout, index=reading.index, contrast=reading.contrast) as rella,
    ):
        _serve(rella, listening, serving, selection, be_ready)


def _check_extra() -> None:
    """Refuse to serve without what the extra brings, before a model is loaded."""
    from rella_cpp import InputError

    try:
        import fastapi  # noqa: F401  # the extra serve
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(f"a server needs {error.name}", remedy="pip install 'rella-cpp[serve]'") from None


def _listen(serving: ServingOptions) -> socket.socket:
    """Take the address, before a model is loaded for it."""
    from rella_cpp import InputError

    listening = None
    try:
        kind = socket.getaddrinfo(serving.host, serving.port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(kind[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(kind[4])
        listening.listen(_BACKLOG)  # who comes while the model is loaded waits
    except (OSError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        place = f"{serving.host}:{serving.port}"
        told = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot be listened on: {told}", source=place, remedy="another --host or --port") from None
    return listening


def _serve(
    rella: "Rella",
    listening: socket.socket,
    serving: ServingOptions,
    selection: "Selection",
    be_ready: Callable[[], None],
) -> None:
    from rella_cli.views.terminal import note
    from rella_cpp.serving.desk import Desk
    from rella_cpp.serving.http.app import Serving, make_app
    from rella_cpp.serving.http.server import Server
    from rella_cpp.serving.scheduler import Scheduler
    from rella_cpp.serving.service import LONGEST_HISTORY, Service

    identity, exact = rella.model, rella.engine.settings.exact
    name = identity.name if identity.bundle is None else identity.bundle.name
    about = {"rella": rella.settings()}
    rella.engine.remember()
    with Scheduler(rella.judge, budget=serving.budget, most=serving.queue) as scheduler:
        layout = rella.prompts.layout
        service = Service(rella, rella.domain, selection, layout=layout, longest=LONGEST_HISTORY)
        desk = Desk(service, scheduler, exact=exact)
        app = make_app(
            Serving(desk, rella.engine, name, about, lambda: rella.judged_tokens, serving.api_key, serving.max_body)
        )
        host, port = listening.getsockname()[:2]
        if serving.api_key is None and not ipaddress.ip_address(host).is_loopback:
            note("warning: whoever reaches this address may ask; give --api-key")

        def tell() -> None:
            note(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}, as {name}")

        server = Server(app, scheduler, serving.grace, takes_signals=be_ready, listens=tell)
        server.run(sockets=[listening])
