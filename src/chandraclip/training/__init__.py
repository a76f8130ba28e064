"""What the loops in `training/` share: arguments, batches, optimizer, checkpoints, tracking. No loop is here."""
