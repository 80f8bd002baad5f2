"""The bucket, as the cloud side needs it: for the pages, for the keeper, for whoever sets it up."""

from cloud_bridge.objects.viewed import LINK_S, FolderObjects, Objects, S3Objects, Wanted, objects_of

__all__ = ["LINK_S", "FolderObjects", "Objects", "S3Objects", "Wanted", "objects_of"]
