import hashlib
from pathlib import Path

import pytest

from cloud_bridge.dressings import read_dressings
from edge_agent.core.settings import Branding, BrandingLogo, Settings
from schemas.booking import AssetRef, Logo


def test_files_are_named_by_their_hash(tmp_path: Path) -> None:
    logo, intro = tmp_path / "logo.png", tmp_path / "intro.mp4"
    logo.write_bytes(b"picture")
    intro.write_bytes(b"film" * 1_000_000)
    settings = Settings(
        branding=Branding(
            logos=(BrandingLogo(slot="club", file=str(logo), place="top_left", size=20, opacity=0.5),),
            intro=str(intro),
        )
    )
    digest, intro_digest = (hashlib.sha256(file.read_bytes()).hexdigest() for file in (logo, intro))
    assert read_dressings(settings) == (
        (
            Logo(
                key=f"club/assets/{digest}", sha256=digest, bytes=7, slot="club", place="top_left", size=20,
                opacity=0.5,
            ),
        ),
        AssetRef(key=f"club/assets/{intro_digest}", sha256=intro_digest, bytes=4_000_000),
    )  # fmt: skip


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    good = tmp_path / "good.png"
    good.write_bytes(b"picture")
    settings = Settings(
        branding=Branding(
            logos=(
                BrandingLogo(slot="gone", file=str(tmp_path / "gone.png")),
                BrandingLogo(slot="other", file=str(good), sha256="0" * 64),
                BrandingLogo(slot="folder", file=str(tmp_path)),
                BrandingLogo(slot="good", file=str(good)),
            ),
            intro=str(tmp_path / "gone.mp4"),
        )
    )
    logos, intro = read_dressings(settings)
    assert ([logo.slot for logo in logos], intro) == (["good"], None)
    for name in ("gone.png", "other", str(tmp_path), "gone.mp4"):
        assert name in caplog.text
    assert read_dressings(Settings()) == ((), None)
