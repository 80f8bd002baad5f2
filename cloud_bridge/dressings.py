"""The device's own logos and intro, from the settings: named by hash, read once."""

import hashlib
import logging
from pathlib import Path

from cloud_bridge.resolve import Dressings
from edge_agent.core.settings import BrandingLogo, Settings
from schemas.booking import AssetRef, Logo

log = logging.getLogger(__name__)


def read_dressings(settings: Settings) -> Dressings:
    """Logos and intro of ``settings.branding`` with their hashes and sizes.

    Reads every file once, whole, in pieces. One that cannot be read, or is not the one the settings name by
    hash, is left out and named in the log: a film without a logo is better than none.
    """
    logos = tuple(found for logo in settings.branding.logos if (found := _logo(logo, settings)))
    intro = _asset(settings.branding.intro, settings) if settings.branding.intro else None
    return logos, intro


def _logo(logo: BrandingLogo, settings: Settings) -> Logo | None:
    asset = _asset(logo.file, settings)
    if asset is None:
        return None
    if logo.sha256 is not None and logo.sha256 != asset.sha256:
        log.warning("logo %s: %s is not the file that was named by hash, left out", logo.slot, logo.file)
        return None
    return Logo(**asset.model_dump(), slot=logo.slot, place=logo.place, size=logo.size, opacity=logo.opacity)


def _asset(file: str, settings: Settings) -> AssetRef | None:
    path, size_bytes, digest = Path(file), 0, hashlib.sha256()
    try:
        with path.open("rb") as source:
            while piece := source.read(1 << 20):
                digest.update(piece)
                size_bytes += len(piece)
    except OSError as error:
        log.warning("branding: %s cannot be read (%s), left out", file, error.strerror)
        return None
    sha256 = digest.hexdigest()
    return AssetRef(key=f"{settings.device.org}/assets/{sha256}", sha256=sha256, bytes=size_bytes)
