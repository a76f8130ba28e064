"""Moved to chandraclip.files."""

from chandraclip.files import *  # noqa: F403
from chandraclip.files import atomic_path, content_hash, write_json  # noqa: F401
