"""What papers say of sources, and the summaries a language model would write of them."""
