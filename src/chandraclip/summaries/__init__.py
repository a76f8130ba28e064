"""What papers say of a source, told by a chat model in a fixed form: asked with prompts that are versioned, checked
against the papers, and never steered by what stands in them."""
