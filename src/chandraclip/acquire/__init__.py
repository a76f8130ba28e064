"""Clients of the archives: what they hold becomes chunks of rows for `data.packaging`."""
