"""Calls that a thread of its own makes, in the order in which they were handed over.

Who hands one over neither waits for it nor hears of its failure; the first failure is told, once (docs/tracking.md).
"""

import queue
import threading
import time
from collections.abc import Callable

from saddlepoint.redaction import redact

MAX_WAITING = 10_000  # calls: about 10 MB of rows, which is what a service that takes nothing at all may cost in memory
Call = Callable[[], object]


class BackgroundWorker:
    """Makes calls for others; `say` hears once of a call that fails, and once where there are more than can wait."""

    def __init__(self, name: str, log: Callable[[str], None], max_waiting: int = MAX_WAITING) -> None:
        self._whose, self._say = name, log
        self._calls: queue.Queue[Call | None] = queue.Queue(max_waiting)
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._made, name=name, daemon=True)  # it must not hold up an exit
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Make this call after the others; where too many wait already, it is left out."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._once("full", f"{self._whose} does not keep up; what it cannot take is left out there")

    def finish(self, seconds: float) -> bool:
        """Whether all calls were made within `seconds`; no call is taken after this."""
        until = time.monotonic() + seconds
        try:
            self._calls.put(None, timeout=seconds)
        except queue.Full:
            return False
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def _made(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # nobody's interrupt arrives in this thread, and SystemExit is a failure too
                self._once("failed", f"{self._whose}: {error_summary(error)}; the run goes on without it")

    def _once(self, what: str, line: str) -> None:
        if what not in self._said:
            self._said.add(what)
            self._say(line)


def error_summary(error: BaseException) -> str:
    """The first line of what an error says, as it may be told, at most 100 characters; its class where it is silent."""
    return redact(str(error)).strip().partition("\n")[0][:100] or type(error).__name__
