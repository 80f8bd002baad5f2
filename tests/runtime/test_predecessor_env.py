"""`ezrec config import`: the predecessor's own `.env`, as its example has it."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.runtime.secret_files import SECRETS
from edge_agent.runtime.settings import load

ENV = """
# EZREC .env
SUPABASE_URL=https://abc.supabase.co
SUPABASE_SERVICE_ROLE_KEY=eyJservice.role.key
SUPABASE_ANON_KEY=eyJanon.key.x
USER_ID=0D5E2F30-aaaa-bbbb-cccc-000000000001
CAMERA_ID=7c9e6679-7425-40de-944b-e07fc1f90ae7
AWS_ACCESS_KEY_ID=AKIAEXAMPLE
AWS_SECRET_ACCESS_KEY="s3cr3t/with+signs"
AWS_REGION=eu-central-1
AWS_S3_BUCKET=ezrec-videos
S3_BUCKET=another-name
AWS_USER_MEDIA_BUCKET=ezrec-user-media
CAMERA_0_SERIAL=88000
CAMERA_1_SERIAL=80000
DUAL_CAMERA_MODE=true
CAMERA_ROTATION=90  # degrees
MERGE_METHOD=advanced_stitch
RESOLUTION=1280x720
RECORDING_FPS=30
BOOKING_CHECK_INTERVAL=5
TIMEZONE_NAME=America/New_York
MAIN_LOGO_PATH=/opt/ezrec-backend/assets/ezrec_logo.png
MAIN_LOGO_POSITION=bottom_right
EMAIL_HOST=smtp.example.org
EMAIL_PORT=587
EMAIL_HOST_USER=films@example.org
EMAIL_HOST_PASSWORD=mailpass
EMAIL_USE_TLS=True
EMAIL_FROM=films@example.org
SHARE_BASE_URL=https://films.example.org
LIVE_PREVIEW_TOKEN=changeme
LOG_LEVEL=INFO
SOMETHING_ELSE=1
EMPTY=
"""


def imported(folder: Path, text: str) -> tuple[int, str]:
    envfile = folder / ".env"
    envfile.write_text(text)
    done = CliRunner().invoke(app, ["config", "import", str(envfile)])
    return done.exit_code, done.output


def test_the_predecessors_settings_are_taken_over(tmp_path: Path) -> None:
    code, said = imported(tmp_path, ENV)
    assert code == 0
    made = tomllib.loads(said)
    assert made["device"] == {
        "id": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "org": "0d5e2f30-aaaa-bbbb-cccc-000000000001",
        "timezone": "America/New_York",
    }
    assert made["store"] == {"kind": "s3", "region": "eu-central-1", "bucket": "ezrec-videos"}
    assert made["bookings"] == {"url": "https://abc.supabase.co", "public_key": "eyJanon.key.x"}
    assert made["smtp"] == {
        "host": "smtp.example.org",
        "username": "films@example.org",
        "sender": "films@example.org",
    }
    assert [camera["serial"] for camera in made["camera"]] == ["88000", "80000"]
    assert made["api"]["share_base_url"] == "https://films.example.org"
    assert "film" not in made
    (logo,) = made["branding"]["logos"]
    assert (logo["slot"], logo["file"], logo["place"]) == (
        "company",
        "/opt/ezrec-backend/assets/ezrec_logo.png",
        "bottom_right",
    )


def test_what_it_prints_is_a_settings_file(tmp_path: Path) -> None:
    (tmp_path / "ezrec.toml").write_text(imported(tmp_path, ENV)[1])
    settings = load(tmp_path / "ezrec.toml", {})
    assert settings.film.layout == "side_by_side"
    assert settings.store.key is None
    assert [logo.slot for logo in settings.branding.logos] == ["company"]


def test_no_secret_is_printed_and_each_is_named_as_it_is_stored(tmp_path: Path) -> None:
    said = imported(tmp_path, ENV)[1]
    for secret in ("eyJservice", "AKIAEXAMPLE", "s3cr3t", "mailpass", "changeme"):
        assert secret not in said
    told = [
        line.rpartition("ezrec secret set ")[2].strip("`")
        for line in said.splitlines()
        if "secret set" in line
    ]
    assert sorted(told) == ["bookings.key", "smtp.password", "store.key", "store.secret"]
    assert set(told) <= SECRETS.keys()


def test_what_is_not_taken_over_is_said(tmp_path: Path) -> None:
    lines = [
        line for line in imported(tmp_path, ENV)[1].splitlines() if line.startswith("# not taken over: ")
    ]
    names = [line.removeprefix("# not taken over: ").partition(":")[0].partition(" ")[0] for line in lines]
    assert names == [
        "AWS_USER_MEDIA_BUCKET",
        "CAMERA_ROTATION",
        "BOOKING_CHECK_INTERVAL",
        "LIVE_PREVIEW_TOKEN",
        "SOMETHING_ELSE",
        "MERGE_METHOD",
        "USER_ID",
        "SUPABASE_URL",
    ]


@pytest.mark.parametrize(("name", "key"), [("S3_BUCKET", "bucket"), ("AWS_DEFAULT_REGION", "region")])
def test_its_second_names_count_where_the_first_are_missing(tmp_path: Path, name: str, key: str) -> None:
    assert tomllib.loads(imported(tmp_path, f"{name}=other")[1])["store"][key] == "other"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("CAMERA_ID=a b", "device.id"),
        ("RESOLUTION=big", "width"),
        ("SPONSOR_LOGO_1_PATH=x\nSPONSOR_1_POSITION=up", "place"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    code, said = imported(tmp_path, text)
    assert (code, said.count("\n"), says in said) == (78, 1, True)


def test_an_empty_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    assert imported(tmp_path, "")[0] == 0
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(app, ["config", "import", str(tmp_path / ".env")])
    assert (done.exit_code, done.output.count("\n")) == (78, 1)
