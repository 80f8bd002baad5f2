"""The HTTP side: an API for programs, and the pages behind share links."""

from cloud_bridge.api.app import create_app

__all__ = ["create_app"]
