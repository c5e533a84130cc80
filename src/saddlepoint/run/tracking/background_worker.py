"""A worker thread that makes submitted calls in order.

`submit` neither waits nor raises; the first failure is logged, once (docs/tracking.md).
"""

import queue
import threading
import time
from collections.abc import Callable

from saddlepoint.redaction import redact

MAX_WAITING = 10_000  # calls: about 10 MB of rows, the memory that a server that never answers may cost
Call = Callable[[], object]


class BackgroundWorker:
    """Makes calls in a background thread; `log` is called once if a call fails, and once if the queue is full."""

    def __init__(self, name: str, log: Callable[[str], None], max_waiting: int = MAX_WAITING) -> None:
        self._name, self._log = name, log
        self._calls: queue.Queue[Call | None] = queue.Queue(max_waiting)
        self._logged: set[str] = set()
        self._thread = threading.Thread(target=self._run_queue, name=name, daemon=True)  # does not delay the exit
        self._thread.start()

    def submit(self, call: Call) -> None:
        """Queue a call; if the queue is full, the call is dropped."""
        try:
            self._calls.put_nowait(call)
        except queue.Full:
            self._log_once("full", f"{self._name} does not keep up; some of its data are left out")

    def finish(self, seconds: float) -> bool:
        """Wait at most `seconds` for all calls; return whether they were made.  No call is accepted after this."""
        until = time.monotonic() + seconds
        try:
            self._calls.put(None, timeout=seconds)
        except queue.Full:
            return False
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def _run_queue(self) -> None:
        """Make the queued calls until None is queued."""
        while (call := self._calls.get()) is not None:
            try:
                call()
            except BaseException as error:  # interrupts do not reach this thread, and SystemExit is a failure too
                self._log_once("failed", f"{self._name}: {error_summary(error)}; the run continues without it")

    def _log_once(self, event: str, message: str) -> None:
        if event not in self._logged:
            self._logged.add(event)
            self._log(message)


def error_summary(error: BaseException) -> str:
    """Return the first line of an error's text, redacted, at most 100 characters; if it is empty, the class name."""
    return redact(str(error)).strip().partition("\n")[0][:100] or type(error).__name__
