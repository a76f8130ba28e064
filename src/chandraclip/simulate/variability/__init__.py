"""How sources change: within an observation and from one to the next."""
