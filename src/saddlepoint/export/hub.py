"""The upload of an export folder to the Hugging Face hub.  The user has to be logged in there."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from saddlepoint.error import Mistake, first_line

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def import_hub() -> Any:
    """Return the module huggingface_hub.  Raises Mistake if it is not installed."""
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise Mistake("hub=... needs huggingface_hub: pip install 'saddlepoint[hub]'") from None


def check_repository_name(hub: str) -> str:
    """Return `hub`.  Raises Mistake if it is not <user>/<name>."""
    if not NAME.fullmatch(hub):
        raise Mistake(f"hub={hub} must be <user or organisation>/<name>")
    return hub


def push(folder: Path, hub: str) -> str:
    """Upload every file of `folder` to the model repository `hub`, created if it is missing; return its URL.

    Raises Mistake before any upload if the user is not logged in, and if the hub refuses the upload.
    """
    api = import_hub().HfApi()
    try:
        api.whoami()
    except Exception as error:  # no token, a wrong token, or no network
        reason = f"you are not logged in to the hub ({first_line(error)}). Log in: hf auth login"
        raise Mistake(f"not pushed: {reason}. The export is in {folder}") from None
    try:
        api.create_repo(repo_id=hub, repo_type="model", exist_ok=True)
        api.upload_folder(folder_path=str(folder), repo_id=hub, repo_type="model", commit_message="saddlepoint export")
    except Exception as error:
        raise Mistake(f"not pushed: the hub refused {hub}: {first_line(error)}. The export is in {folder}") from None
    return f"https://huggingface.co/{hub}"
