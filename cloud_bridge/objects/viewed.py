"""The bucket as the pages see it: an address for 15 minutes, or a file that the API itself sends."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias
from urllib.parse import urlsplit

from cloud_bridge.objects.client import s3_client
from edge_agent.core.settings import Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

LINK_S = 15 * 60


@dataclass(frozen=True)
class Wanted:
    """What is asked of an object: ``name`` is what a player's computer calls the file."""

    key: str
    media_type: str
    name: str
    attachment: bool = False
    method: Literal["GET", "HEAD"] = "GET"

    @property
    def disposition(self) -> str:
        """The Content-Disposition header. ``name`` is plain ASCII without quotes."""
        return f'{"attachment" if self.attachment else "inline"}; filename="{self.name}"'


class S3Objects:
    """A bucket whose objects are fetched from it directly, by presigned addresses."""

    def __init__(self, settings: Settings) -> None:
        """Nothing is loaded before the first address (or `warm`): boto3 costs half a second."""
        self._settings = settings
        self._lock = threading.Lock()
        self._client: S3Client | None = None

    @property
    def origins(self) -> tuple[str, ...]:
        """Where the addresses lead, for the pages' content policy."""
        store = self._settings.store
        if store.endpoint is None:
            return ("https://s3.amazonaws.com", f"https://s3.{store.region}.amazonaws.com")
        parts = urlsplit(store.endpoint)
        return (f"{parts.scheme}://{parts.netloc}",)

    def warm(self) -> None:
        """Load what the first address would have to wait for. Makes no request."""
        self._ready()

    def address(self, wanted: Wanted) -> str:
        """An address that opens this object for 15 minutes, with no question asked. Makes no request."""
        method = "head_object" if wanted.method == "HEAD" else "get_object"
        named = {"Bucket": self._settings.store.bucket, "Key": wanted.key}
        shown = {"ResponseContentDisposition": wanted.disposition, "ResponseContentType": wanted.media_type}
        return self._ready().generate_presigned_url(method, Params=named | shown, ExpiresIn=LINK_S)

    def _ready(self) -> "S3Client":
        with self._lock:
            if self._client is None:
                self._client = s3_client(self._settings)
            return self._client


class FolderObjects:
    """A bucket that is a folder on this machine."""

    origins: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self._root = root

    def warm(self) -> None:
        """Nothing to load."""

    def file(self, key: str) -> Path | None:
        """The object's file, when it is there, a plain one, and no link leads to it."""
        names = key.split("/")
        if any(not name or name.startswith(".") or "\\" in name or "\0" in name for name in names):
            return None
        path = self._root
        for name in names:
            path /= name
            if path.is_symlink():
                return None
        return path if path.is_file() else None


Objects: TypeAlias = S3Objects | FolderObjects


def objects_of(settings: Settings) -> Objects:
    """The bucket that the settings name."""
    if settings.store.kind == "s3":
        return S3Objects(settings)
    folder = settings.store.folder
    return FolderObjects(Path(folder) if folder else Path(settings.storage.root) / "bucket")
