"""What the loops train on."""

from training_files import dataset, environment, loop_command, run_loop, text_encoder, towers  # noqa: F401
