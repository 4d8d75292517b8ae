"""Settings of the index: `CHIASM_EMBEDDER_*`."""

from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from services.runtime.config import ServiceSettings


class IndexSettings(ServiceSettings):
    """Where collections are kept, and how they are looked after."""

    service: ClassVar[str] = "embedder"

    index_uri: str = Field(".chiasm/index", min_length=1)
    """A folder, which is made, or `s3://bucket/prefix` that any number of replicas share; its store must know
    conditional writes (`If-None-Match`). Keys, region and endpoint are those of `AWS_*` where not given here."""
    index_s3_endpoint: str | None = Field(None, pattern=r"^https?://")
    """The S3 server, where it is not Amazon's; `http://` for plaintext."""
    index_s3_region: str | None = None
    index_s3_access_key_id: SecretStr | None = None
    index_s3_secret_access_key: SecretStr | None = None
    max_staleness_s: float = Field(5.0, ge=0, le=3_600)
    """Seconds that what another replica indexed may stay unseen; 0 looks at every search. What this one indexed is
    seen at once."""
    index_min_entries: int = Field(5_000, ge=256)
    """Entries from which on a collection is searched by an index; fewer are compared one by one."""
    index_maintenance_s: float = Field(10.0, gt=0)
    """Seconds between looks at what the collections need: a new index, compaction, clean-up."""
    index_keep_versions_s: float = Field(900.0, ge=60)
    """Seconds that what was superseded or deleted is kept for who still reads it: more than `max_staleness_s`, and than
    a search takes."""
    index_cache_bytes: int = Field(2**30, ge=2**20)
    """Most memory for what was read of indices."""

    @field_validator("index_uri")
    @classmethod
    def _check_uri(cls, value: str) -> str:
        if "://" in value and not value.startswith("s3://"):
            raise ValueError("a folder, or s3://bucket/prefix")
        return value

    @model_validator(mode="after")
    def _check_kept(self) -> Self:
        if self.max_staleness_s >= self.index_keep_versions_s:
            raise ValueError("index_keep_versions_s must be more than max_staleness_s: what may be read is kept")
        return self
