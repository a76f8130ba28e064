"""Options from YAML and the command line, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import yaml

from chandraclip.errors import InputFileError
from chandraclip.training.arguments import RunArguments, as_yaml, differences, option, parse_arguments, read_yaml


@dataclass
class Options(RunArguments):
    names: list[str] = field(default_factory=lambda: ["a", "b"])
    flag: bool = option(False, "a flag")


def parse(tmp_path, content, *argv):
    file = tmp_path / "config.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return parse_arguments(Options, None, ["--config", str(file), *argv])


def test_command_line_overrides_the_file_and_the_file_the_defaults(tmp_path):
    content = {"batch_size": 8, "learning_rate": "3e-4", "flag": True, "names": ["x"], "dataset": None,
               "model_options": {"latent_size": 8}}  # fmt: skip
    options = parse(tmp_path, content, "--batch_size", "16", "--seed", "7")
    assert (options.batch_size, options.seed, options.flag, options.names) == (16, 7, True, ["x"])
    assert options.learning_rate == 3e-4
    assert options.model_config == {"latent_size": 8}
    assert options.max_steps == Options().max_steps
    assert parse(tmp_path, content, "--names", "p", "q").names == ["p", "q"]


def test_the_default_file_is_read_unless_another_is_given(tmp_path):
    default = tmp_path / "default.yaml"
    default.write_text("batch_size: 5")
    assert parse_arguments(Options, default, []).batch_size == 5
    other = tmp_path / "other.yaml"
    other.write_text("seed: 3")
    options = parse_arguments(Options, default, ["--config", str(other)])
    assert (options.batch_size, options.seed) == (Options().batch_size, 3)


def test_saved_options_give_the_same_run(tmp_path):
    options = parse(tmp_path, {"batch_size": 8, "model_options": {"latent_size": 8}}, "--flag", "true")
    saved = tmp_path / "train_config.yaml"
    saved.write_text(as_yaml(options))
    again = parse_arguments(Options, None, ["--config", str(saved)])
    assert again == options
    assert differences(again, read_yaml(saved)) == []
    moved = parse_arguments(Options, None, ["--config", str(saved), "--output_dir", "elsewhere", "--batch_size", "9"])
    assert differences(moved, read_yaml(saved)) == ["batch_size: 8 -> 9"]


def test_unknown_keys_and_bad_files_are_errors(tmp_path):
    with pytest.raises(InputFileError, match=r"config.yaml.*'batchsize'"):
        parse(tmp_path, {"batchsize": 8})
    with pytest.raises(InputFileError, match="mapping"):
        parse(tmp_path, "- 1\n- 2")
    with pytest.raises(InputFileError, match="YAML"):
        parse(tmp_path, "a: [1")
    with pytest.raises(InputFileError, match="absent"):
        parse_arguments(Options, None, ["--config", str(tmp_path / "absent.yaml")])


@pytest.mark.parametrize(
    ("content", "argv", "message"),
    [
        ({"batch_size": "many"}, [], "batch_size"),
        ({"batch_size": 0}, [], "batch_size must be positive"),
        ({}, ["--learning_rate=-1"], "learning_rate must be positive"),
        ({}, ["--no_such_option", "1"], "no_such_option"),
        ({}, ["--batch", "1"], "--batch"),  # no abbreviations: another option may come to share them
        ({"model_options": "[1]"}, [], "model_options must be a mapping"),
        ({"model_options": "{"}, [], "model_options is not JSON"),
    ],
)
def test_bad_values_end_the_program_with_their_name(tmp_path, capsys, content, argv, message):
    with pytest.raises((SystemExit, ValueError)) as error:
        parse(tmp_path, content, *argv)
    assert message in capsys.readouterr().err + str(error.value)
