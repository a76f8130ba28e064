"""What the configurations share: checks with messages a user can act on."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

# Options that `PreTrainedConfig` takes without a field of that name.
_LIBRARY_OPTIONS = {
    "attn_implementation",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "torch_dtype",
    "transformers_version",
}


class ChandraConfig(PreTrainedConfig):
    """A `PreTrainedConfig` whose values are checked when it is made; one that no class knows is reported, not lost.

    Attributes:
        first_version, current_version: forms that were and are written.
        config_version: of the form the file was written in; a file without it is of version 1. A class that changes its
            form raises `current_version` and teaches `upgrade` to read the one before.
    """

    first_version: ClassVar[int] = 1
    current_version: ClassVar[int] = 2

    config_version: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(
            name
            for name in kwargs
            if name not in _LIBRARY_OPTIONS and not name.startswith("_") and not hasattr(PreTrainedConfig, name)
        )
        if unknown:
            logger.warning(f"{type(self).__name__} has no option {', '.join(unknown)}: kept, but nothing reads it")
        super().__post_init__(**kwargs)
        self.config_version = self.current_version
        self.check()

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """From the content of a `config.json` of this or an earlier version.

        Raises:
            ValueError: it was written by a later version of the package.
        """
        version = config_dict.get("config_version") or 1
        if version > cls.current_version:
            raise ValueError(
                f"a {cls.model_type} configuration of version {version}; this chandraclip reads versions up to "
                f"{cls.current_version}: install a newer one"
            )
        for step in range(version, cls.current_version):
            config_dict = cls.upgrade(dict(config_dict), step)
        return super().from_dict(config_dict, **kwargs)

    @classmethod
    def upgrade(cls, config_dict: dict[str, Any], version: int) -> dict[str, Any]:
        """The content of a `config.json` of `version` in the form of `version` + 1."""
        return config_dict

    def to_diff_dict(self) -> dict[str, Any]:
        """What `config.json` holds: the paths that the parts were loaded from are private to this machine."""
        content = super().to_diff_dict()
        for part in content.values():
            if isinstance(part, dict):
                part.pop("_name_or_path", None)
        return content

    def check(self) -> None:
        """Raises ValueError for values that no model can be built from."""

    def check_positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, it is {getattr(self, name)}")

    def check_choice(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ValueError(f"{name} must be one of {choices}, it is {getattr(self, name)!r}")

    def check_heads(self) -> None:
        self.check_positive("hidden_size", "num_attention_heads")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}"
            )
