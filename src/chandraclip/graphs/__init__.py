"""Similarity graphs of embeddings: who is like whom, what is the core and what the periphery, and is it more than
chance.

A graph is a symmetric `scipy.sparse.csr_array` with an empty diagonal and the similarities as its data. networkx draws
and exports it, networkit measures it; what neither has stands here. The extra ``graphs`` installs what is needed.
"""
