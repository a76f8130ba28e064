"""Options of a run: a YAML file plus command-line overrides into a dataclass, saved beside the weights.

transformers' HfArgumentParser does this too, but takes seconds to import, and its `--help` knows nothing of the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import yaml

from chandraclip.errors import InputFileError

# Of chandraclip.models and chandraclip.losses, which load torch.
MODALITIES = ("spectrum", "event", "text")
REGULARIZERS = ("variance_covariance", "distance", "none")
TEXT_TRAINING = ("auto", "full", "frozen", "lora")
CONFIG_FILE, METRICS_FILE = "train_config.yaml", "metrics.json"  # of a run's folder; the second is written last
# What may differ between a run and its continuation: it changes where and how fast, not what comes out.
FREE_OPTIONS = (
    "output_dir",
    "resume_from_checkpoint",
    "overwrite_output_dir",
    "prefetch",
    "logging_steps",
    "gradient_accumulation_steps",
)
NAMED_NUMBERS = ("pair_weights",)  # a mapping in the YAML file, name=number on the command line
MODEL_OPTIONS_HELP = "options of the model's configuration, a mapping in YAML or JSON, e.g. '{\"latent_size\": 8}'"


def option(default: Any, help: str) -> Any:
    """A dataclass field with its line of `--help`."""
    return field(default=default, metadata={"help": help})


def mapping_option(name: str, value: str) -> dict[str, Any]:
    """An option that holds a mapping, as a dict.

    Raises:
        ValueError: not JSON, or no mapping.
    """
    try:
        options = json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    if not isinstance(options, dict):
        raise ValueError(f"{name} must be a mapping, it is {value}")
    return options


@dataclass
class RunArguments:
    """Options every loop has."""

    program: ClassVar[str] = ""  # the file in training/ whose options they are

    output_dir: str = option("outputs/run", "where the model, checkpoints and logs go")
    dataset: str | None = option(None, "dataset folder or Hub id; default: the simulated one, built once")
    dataset_config: str | None = option(None, "of the dataset; default: pairs, or its only or default one")
    num_detections: int = option(40_000, "rows of the simulated dataset")
    simulation_seed: int = option(0, "of the simulated dataset")
    seed: int = option(0, "of the initial weights, the order of the rows and dropout")

    batch_size: int = option(128, "rows a step, over all processes and micro-batches")
    gradient_accumulation_steps: int | None = option(
        None, "micro-batches a process cuts its rows of a step in; default: what accelerate was told, else 1"
    )
    max_steps: int = option(1000, "optimizer steps")
    learning_rate: float = option(1e-3, "peak, after the warm-up")
    warmup_steps: int = option(50, "steps of linear rise; a cosine fall to 0 follows")
    weight_decay: float = option(0.01, "of AdamW; none on biases, norms and the temperature")
    max_grad_norm: float = option(1.0, "gradients are scaled down to this norm")

    eval_steps: int = option(200, "steps between validations")
    save_steps: int = option(200, "steps between checkpoints; a validation that is the best so far is saved too")
    keep_checkpoints: int = option(2, "newest checkpoints kept, beside the best one")
    max_validation_rows: int = option(1000, "rows of the fixed validation subset")
    logging_steps: int = option(10, "steps between lines of the log")
    prefetch: int = option(2, "batches prepared ahead by a background thread; 0: none")
    resume_from_checkpoint: str | None = option(None, "checkpoint folder; default: the newest of output_dir, if any")
    overwrite_output_dir: bool = option(False, "forget the run that output_dir holds")
    model_options: str = option("{}", MODEL_OPTIONS_HELP)

    def __post_init__(self) -> None:
        positive = (
            "batch_size",
            "max_steps",
            "eval_steps",
            "save_steps",
            "keep_checkpoints",
            "max_validation_rows",
            "logging_steps",
            "learning_rate",
            "max_grad_norm",
            "gradient_accumulation_steps",
        )
        for name in positive:
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, it is {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "prefetch", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, it is {getattr(self, name)}")
        _ = self.model_config

    @property
    def num_micro_batches(self) -> int:
        """`gradient_accumulation_steps`; 1 where neither we nor accelerate were told a number."""
        return self.gradient_accumulation_steps or 1

    @property
    def micro_batch_size(self) -> int:
        """Rows of a micro-batch, over all processes."""
        return self.batch_size // self.num_micro_batches

    @property
    def model_config(self) -> dict[str, Any]:
        """`model_options` as a dict."""
        return mapping_option("model_options", self.model_options)


Arguments = TypeVar("Arguments", bound=RunArguments)


def parse_arguments(kind: type[Arguments], default_config: Path | None, argv: list[str] | None = None) -> Arguments:
    """Options from ``--config FILE`` (or `default_config`), then from the rest of the command line.

    ``--help`` shows the defaults that hold: those of the file, where it has them.

    Args:
        kind: the loop's dataclass.
        default_config: YAML file read where there is no ``--config``.
        argv: the command line; ``sys.argv[1:]`` by default.

    Raises:
        InputFileError: the YAML file is unreadable, no mapping, or has a key that is no option of the loop.
        SystemExit: a bad option or value, on the command line or in the file, with argparse's message.
    """
    argv = sys.argv[1:] if argv is None else argv
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config", type=Path, default=default_config)
    options, rest = first.parse_known_args(argv)
    # The file's values go in front as options of the command line, so that both are typed and checked in one place.
    from_file = [] if options.config is None else _as_options(options.config, kind)
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=sys.modules[kind.__module__].__doc__, formatter_class=_HelpFormatter
    )
    parser.add_argument("--config", default=options.config, help="YAML file of these options")
    _add_options(parser, kind)
    parser.set_defaults(**vars(parser.parse_args(from_file)))
    values = vars(parser.parse_args(rest))
    del values["config"]
    try:
        return kind(**values)
    except ValueError as error:
        parser.error(str(error))


class _HelpFormatter(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to each line, but for none, which the line itself explains."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def _add_options(parser: argparse.ArgumentParser, kind: type[RunArguments]) -> None:
    """An option a field: int, float, str, bool (alone or with true or false), each also ``| None``, or a list."""
    types = get_type_hints(kind)
    for item in dataclasses.fields(kind):
        of, nargs = types[item.name], None
        if isinstance(of, UnionType):
            (of,) = (part for part in get_args(of) if part is not NoneType)
        if get_origin(of) is list:
            (of,), nargs = get_args(of), "+"
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        settings: dict[str, Any] = {"default": default, "help": item.metadata.get("help"), "nargs": nargs}
        if of is bool:
            settings |= {"nargs": "?", "const": True}
        parser.add_argument(f"--{item.name}", type=_truth if of is bool else of, **settings)


def _truth(text: str) -> bool:
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"true or false, not {text!r}") from None


def _as_options(path: Path, kind: type[RunArguments]) -> list[str]:
    content = read_yaml(path)
    known = {item.name for item in dataclasses.fields(kind)}
    unknown = sorted(set(content) - known)
    if unknown:
        raise InputFileError(path, f"unknown options {unknown}; this loop has {sorted(known)}")
    options = []
    for name, value in content.items():
        if value is None or value == []:
            continue
        if isinstance(value, dict) and name in NAMED_NUMBERS:
            options += [f"--{name}", *(f"{key}={number}" for key, number in value.items())]
        elif isinstance(value, list):
            options += [f"--{name}", *map(str, value)]
        else:
            options.append(f"--{name}={json.dumps(value) if isinstance(value, dict) else value}")
    return options


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping.

    Raises:
        InputFileError: unreadable, not YAML, or not a mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputFileError(path, f"cannot be read as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputFileError(path, "holds no mapping of options to values")
    return content


def as_yaml(arguments: RunArguments) -> str:
    """The resolved options; reading them back gives the same run."""
    return yaml.safe_dump(dataclasses.asdict(arguments), sort_keys=False)


def named_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """ "name=number" texts as a mapping.

    Raises:
        ValueError: a text is not of that form, or names one twice; the message names the option.
    """
    numbers: dict[str, float] = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            raise ValueError(f"{option} takes name=number, as in spectrum_text=0.5; not {text!r}") from None
        if name in numbers:
            raise ValueError(f"{option} names {name} twice")
        numbers[name] = value
    return numbers


def differences(arguments: RunArguments, saved: dict[str, Any], but: Sequence[str] = ()) -> list[str]:
    """ "option: saved -> now" for each, `but` for some, that makes another run of it."""
    now = dataclasses.asdict(arguments)
    names = [name for name in {**saved, **now} if name not in (*FREE_OPTIONS, *but)]
    return [f"{name}: {saved.get(name)} -> {now.get(name)}" for name in names if saved.get(name) != now.get(name)]
