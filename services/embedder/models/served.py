"""The models that this server has, by name."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from services.embedder.config import EmbedderSettings, resource_name
from services.embedder.models.model import EmbeddingModel
from services.runtime.errors import InvalidArgument, NotFound


@dataclass(frozen=True, eq=False)
class Served:
    """A loaded model under the name that requests give it, `models/NAME`."""

    name: str
    model: EmbeddingModel


class ServedModels:
    """Those that the settings name, once `add` has taken them."""

    def __init__(self) -> None:
        self._models: dict[str, Served] = {}

    def add(self, source: str, settings: EmbedderSettings) -> None:
        """Loads `source`, as `loading.load` does and raises; seconds to minutes."""
        from services.embedder.models.loading import load  # torch: seconds, in the worker's thread

        name = resource_name(source)
        self._models[name] = Served(name, load(source, settings))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._models.values())

    def get(self, name: str, field: str) -> Served:
        """Raises NotFound naming `field`."""
        if name not in self._models:
            raise NotFound(f"{name[:128]!r} is not served here; {', '.join(sorted(self._models))} are", field=field)
        return self._models[name]

    def choose(self, name: str, field: str, *, fit: Callable[[EmbeddingModel], bool] = lambda _: True) -> Served:
        """The model of that name; where it is empty, the only one that is `fit`.

        Raises NotFound, or InvalidArgument naming `field` where it must be named.
        """
        if name:
            return self.get(name, field)
        fitting = [served for served in self if fit(served.model)]
        if len(fitting) != 1:
            raise InvalidArgument(f"name one of {', '.join(sorted(s.name for s in fitting)) or 'none'}", field=field)
        return fitting[0]
