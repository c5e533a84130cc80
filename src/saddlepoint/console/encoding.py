"""One encoding everywhere: a command runs in Python's UTF-8 mode (PEP 540), whatever the locale says.

With another locale the same bytes on a command line would be another text, so another identity, and what libraries
write without naming an encoding would be in the locale's.  From Python 3.15 on this mode is the default.
"""

from __future__ import annotations

import io
import os
import sys


def use_utf8() -> None:
    """Start this process again in UTF-8 mode where it is not in UTF-8; what it starts will be in that mode too."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding() == "utf-8" or not sys.executable:
        return
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def print_any_name() -> None:
    """Have standard output take names of files that are no UTF-8, as their bytes; standard error escapes them."""
    if getattr(sys.stdout, "errors", None) == "strict" and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
