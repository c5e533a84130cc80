"""The push of an exported folder to the Hugging Face hub, for those who have logged in there."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake, first_line

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def import_hub() -> Any:
    """The module huggingface_hub.  Raises Mistake where it is not installed."""
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise Mistake("hub=... takes huggingface_hub: pip install 'saddlepoint[hub]'") from None


def check_repository_name(hub: str) -> str:
    """`hub` itself.  Raises Mistake where it is no <user>/<name>."""
    if not NAME.fullmatch(hub):
        raise Mistake(f"hub={hub}: it is <user or organisation>/<name>")
    return hub


def push(folder: Path, hub: str) -> str:
    """Upload every file of `folder` to the model repository `hub`, made where it is missing; the address.

    Raises Mistake, before anything is uploaded, where nobody is logged in; and where the hub refuses.
    """
    api = import_hub().HfApi()
    try:
        api.whoami()
    except Exception as error:  # no token, a wrong one, no network
        why = f"nobody is logged in to the hub ({first_line(error)}). Log in: hf auth login"
        raise Mistake(f"not pushed: {why}. The export lies in {folder}") from None
    try:
        api.create_repo(repo_id=hub, repo_type="model", exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=hub, repo_type="model", commit_message="saddlepoint export")
    except Exception as error:
        why = f"the hub refused {hub}: {first_line(error)}"
        raise Mistake(f"not pushed: {why}. The export lies in {folder}") from None
    return f"https://huggingface.co/{hub}"
