"""Where the files of a checkpoint are: in a folder, or on the Hugging Face hub at one commit."""

from dataclasses import dataclass
from pathlib import Path

from transformers.utils import cached_file, extract_commit_hash

from services.embedder.config import split_pin
from services.runtime.config import BadSetting
from services.runtime.revision import checkpoint_revision


@dataclass(frozen=True)
class Checkpoint:
    """A folder, or a hub name with its commit: all that is read of it is of that commit."""

    source: str
    commit: str | None
    """None for a folder."""

    @classmethod
    def find(cls, model: str, *names: str) -> "Checkpoint":
        """That which the setting names `model`; it has a file of at least one of `names`.

        A hub name without a revision is resolved once, here. Raises BadSetting for a folder with a revision, OSError
        where nothing is there.
        """
        source, pinned = split_pin(model)
        if pinned and Path(source).is_dir():
            raise BadSetting("models", f"{source} is a folder, which has no revision {pinned}")
        found = (cached_file(source, name, revision=pinned, **_OPTIONAL) for name in names[:-1])
        file = next(filter(None, found), None) or cached_file(source, names[-1], revision=pinned)
        return cls(source, extract_commit_hash(file, None))

    @property
    def revision(self) -> str:
        """Its commit; a hash of what decides its vectors where it is a folder."""
        return self.commit or checkpoint_revision(Path(self.source))

    def file(self, name: str) -> Path | None:
        """One of its files, fetched where need be; None where it has none of that name."""
        found = cached_file(self.source, name, revision=self.commit, **_OPTIONAL)
        return Path(found) if found else None


_OPTIONAL = {"_raise_exceptions_for_missing_entries": False}
