"""Tables and datasets that the tests embed and evaluate."""

from embedding_files import dataset, embeddings_table, make_embeddings, write_dataset_fixture  # noqa: F401
