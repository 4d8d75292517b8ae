"""The embedder's demonstrations, the shortest first."""

from tests.shows import embedder_batching, embedder_folder, embedder_index, embedder_replicas, embedder_search

SHOWS = (
    *embedder_search.SHOWS,
    *embedder_folder.SHOWS,
    *embedder_replicas.SHOWS,
    *embedder_batching.SHOWS,
    *embedder_index.SHOWS,
)
