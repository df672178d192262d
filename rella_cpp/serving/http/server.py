"""Runs an application on a socket until it is told to end, and then for a limited time."""

import math
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from rella_cpp.serving.scheduler import Scheduler

_LEFT = 5
"""Seconds beyond the grace for what is being read, and for clients that have sent half a request."""


class Server(uvicorn.Server):
    """Ends at SIGINT or SIGTERM: what has been planned within the grace is answered, what has not is refused.

    Parameters
    ----------
    app
        The application, of `make_app`.
    scheduler
        Has the requests that wait.
    grace
        Seconds.
    takes_signals
        Called when signals are the server's.
    listens
        Called when requests are answered.

    """

    def __init__(
        self,
        app: ASGIApp,
        scheduler: Scheduler,
        grace: float,
        *,
        takes_signals: Callable[[], None],
        listens: Callable[[], None],
    ) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=math.ceil(grace) + _LEFT,
        )
        super().__init__(config)
        self._scheduler, self._grace = scheduler, grace
        self._takes_signals, self._listens = takes_signals, listens

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._takes_signals()
        await super().startup(sockets)
        self._listens()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, answer what was taken, and after the grace refuse the rest."""
        end = threading.Timer(self._grace, self._scheduler.stop)
        end.start()
        await super().shutdown(sockets)
        end.cancel()
        self._scheduler.stop()  # nobody waits any more
