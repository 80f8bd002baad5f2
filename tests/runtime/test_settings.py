"""Settings: where they come from, and what one line says when they are wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge_agent.core.settings import Settings
from edge_agent.runtime import secret_files
from edge_agent.runtime.settings import SettingsError, load, masked, parse_env_file, to_toml

ROOT = Path(__file__).resolve().parents[2]


def from_toml(folder: Path, text: str, env: dict[str, str] | None = None) -> Settings:
    path = folder / "ezrec.toml"
    path.write_text(text)
    return load(path, env or {})


def cli(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("EZREC_")}
    return subprocess.run(
        [sys.executable, "-m", "edge_agent", *arguments],
        cwd=ROOT,
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_nothing_set_gives_the_defaults() -> None:
    assert load(None, {}) == Settings()


def test_environment_is_above_the_file_and_the_file_above_the_old_names(tmp_path: Path) -> None:
    text = '[device]\nid = "from-file"\norg = "file-org"\n[film]\nquality = 20\n'
    env = {
        "EZREC_DEVICE__ID": "from-env",
        "CAMERA_ID": "old-name",
        "USER_ID": "old-org",
        "EZREC_FILM__QUALITY": "30",
        "AWS_REGION": "eu-central-1",
    }
    settings = from_toml(tmp_path, text, env)
    assert (settings.device.id, settings.device.org) == ("from-env", "file-org")
    assert (settings.film.quality, settings.store.region) == (30, "eu-central-1")


def test_file_is_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text('[device]\nid = "court-9"\n')
    assert load(None, {"EZREC_CONFIG": str(tmp_path / "x.toml")}).device.id == "court-9"


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("SUPABASE_URL", "https://x.example", "bookings.url"),
        ("SUPABASE_SERVICE_ROLE_KEY", "k1", "bookings.key"),
        ("SUPABASE_ANON_KEY", "k2", "bookings.public_key"),
        ("USER_ID", "club-7", "device.org"),
        ("CAMERA_ID", "court-7", "device.id"),
        ("MERGE_METHOD", "stacked", "film.layout"),
        ("AWS_ACCESS_KEY_ID", "a", "store.key"),
        ("AWS_SECRET_ACCESS_KEY", "b", "store.secret"),
        ("AWS_REGION", "eu-west-1", "store.region"),
        ("AWS_S3_BUCKET", "clips", "store.bucket"),
        ("SHARE_BASE_URL", "https://s.example", "api.share_base_url"),
        ("CAMERA_0_SERIAL", "88000", "camera.0.serial"),
        ("CAMERA_1_SERIAL", "80000", "camera.1.serial"),
        ("RECORDING_FPS", "25", "camera.1.fps"),
        ("RESOLUTION", "640x360", "camera.0.height"),
    ],
)
def test_old_names_work(name: str, value: str, place: str) -> None:
    node: Any = load(None, {name: value})
    for part in place.split("."):
        node = node[int(part)] if part.isdigit() else getattr(node, part)
    shown = node.get_secret_value() if hasattr(node, "get_secret_value") else str(node)
    assert shown in (value, value.partition("x")[2])


def test_logos_and_intro_of_old() -> None:
    env = {
        "MAIN_LOGO_PATH": "logo.png",
        "MAIN_LOGO_POSITION": "top-left",
        "MAIN_LOGO_WIDTH": "180",
        "SPONSOR_LOGO_2_PATH": "s2.png",
        "INTRO_VIDEO_PATH": "intro.mp4",
    }
    branding = load(None, env).branding
    assert [(logo.slot, logo.file, logo.place, logo.size) for logo in branding.logos] == [
        ("company", "logo.png", "top_left", 25.0),
        ("sponsor2", "s2.png", "bottom_right", 16.0),
    ]
    assert branding.intro == "intro.mp4"


def test_one_camera_of_old() -> None:
    settings = load(None, {"DUAL_CAMERA_MODE": "false", "CAMERA_0_SERIAL": "88000"})
    assert settings.camera_names() == ("left",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[device]\nid = "Court 1"\n', "device.id = 'Court 1': String should match pattern"),
        ("[film]\nfps = 0\n", "film.fps = '0': Input should be greater than or equal to 1"),
        ("[film]\nfps = 29.97\n", "film.fps = '29.97': Input should be a valid integer"),
        ("[film]\ncolour = 1\n", "film.colour: no such setting"),
        ("[nonsense]\nx = 1\n", "nonsense: no such setting"),
        ('[[camera]]\nname = "middle"\n', "camera.0.name = 'middle': Input should be 'left' or 'right'"),
        ('[[camera]]\nname = "left"\nbackend = "stream"\n', "needs a url"),
        ('[[camera]]\nname = "left"\n[[camera]]\nname = "left"\n', "different names expected"),
        ('[[camera]]\nname = "left"\nfps = 25\n[[camera]]\nname = "right"\n', "film.fps must say"),
        ("[retention]\nfilm_bucket_days = 9999\n", "film_bucket_days = '9999': Input should be less than"),
        ('[mqtt]\npassword = ["hunter2"]\n', "mqtt.password: Input should be a valid string"),
        ("x = [", "not TOML"),
    ],
)
def test_mistake_is_one_line_with_key_value_and_what_was_expected(
    text: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        from_toml(tmp_path, text)
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    assert "hunter2" not in line


def test_more_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"\(and 1 more\)"):
        from_toml(tmp_path, "[film]\nfps = 0\nquality = 99\n")


def test_what_is_no_section_is_said() -> None:
    with pytest.raises(SettingsError, match="EZREC_CAMERA__0__FPS: camera is no section"):
        load(None, {"EZREC_CAMERA": '[{"name": "left"}]', "EZREC_CAMERA__0__FPS": "30"})


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file, a settings file was expected"):
        load(tmp_path / "absent.toml", {})
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not TOML"):
        load(tmp_path / "binary.toml", {})


SECRETS = """
[mqtt]
password = "hunter1"
[store]
key = "hunter2"
secret = "hunter3"
[bookings]
key = "hunter4"
[smtp]
password = "hunter5"
[notify]
webhooks = ["https://hooks.example/services/hunter6"]
[[camera]]
name = "left"
backend = "stream"
url = "rtsp://admin:hunter7@192.0.2.7/stream"
"""


def test_secrets_are_in_no_output(tmp_path: Path) -> None:
    settings = from_toml(tmp_path, SECRETS)
    shown = json.dumps(masked(settings))
    assert "hunter" not in shown
    assert "rtsp://***@192.0.2.7/stream" in shown
    assert "hunter" not in repr(settings.mqtt) + repr(settings.store)
    assert "https://hooks.example/***" in shown
    assert not any(f"hunter{n}" in to_toml(settings) for n in range(1, 6))


def test_secrets_are_in_no_error(tmp_path: Path) -> None:
    for wrong in ('[store]\nkey = 5\nsecret = {a = "hunter3"}\n', 'smtp = "hunter"\n'):
        with pytest.raises(SettingsError) as caught:
            from_toml(tmp_path, wrong)
        assert "hunter3" not in str(caught.value)
    camera = '[[camera]]\nname="left"\nbackend="picamera3"\nurl="rtsp://a:hunter7@x/"\n'
    with pytest.raises(SettingsError) as caught:
        from_toml(tmp_path, camera)
    assert "hunter7" not in str(caught.value)


def test_old_env_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(
        "# comment\nexport CAMERA_ID='court-3'\nRECORDING_FPS=25 # inline\n"
        'USER_ID="a # b"\nAWS_SECRET_ACCESS_KEY=x=y\nnonsense\n\n'
    )
    assert parse_env_file(path) == {
        "CAMERA_ID": "court-3",
        "RECORDING_FPS": "25",
        "USER_ID": "a # b",
        "AWS_SECRET_ACCESS_KEY": "x=y",
    }


def test_toml_that_was_made_is_read_back_the_same(tmp_path: Path) -> None:
    settings = load(None, {"CAMERA_ID": "court-3", "RESOLUTION": "640x360", "EZREC_FILM__QUALITY": "30"})
    assert from_toml(tmp_path, to_toml(settings)) == settings


def test_command_line_ends_with_78_and_one_line(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("[film]\nfps = 0\n")
    done = cli("config", "check", "--config", str(tmp_path / "e.toml"))
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "ezrec: film.fps = '0': Input should be greater than or equal to 1\n"


def test_command_line_shows_what_is_effective(tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text(SECRETS)
    done = cli("config", "show", "--config", str(tmp_path / "e.toml"), env={"EZREC_DEVICE__ID": "court-5"})
    assert done.returncode == 0
    assert json.loads(done.stdout)["device"]["id"] == "court-5"
    assert "hunter" not in done.stdout + done.stderr


def test_secrets_come_from_files_of_their_own_and_only_where_they_may_be_read(tmp_path: Path) -> None:
    passwords, credentials = tmp_path / "secrets", tmp_path / "credentials"
    for folder in (passwords, credentials):
        folder.mkdir()
    (passwords / "store.key").write_text("from the folder\n")
    (passwords / "store.secret").write_text("folder's")
    (credentials / "store.secret").write_text("the unit's\n")
    (credentials / "bookings.key").write_text("")
    (passwords / "smtp.password").mkdir()  # unreadable to everybody, root too
    file = tmp_path / "ezrec.toml"
    file.write_text(f"[mqtt]\npasswords = {json.dumps(str(passwords))}\n[store]\nkey = 'the file wins'\n")
    settings = load(file, {"CREDENTIALS_DIRECTORY": str(credentials)})
    store = settings.store
    assert store.key is not None
    assert store.secret is not None
    assert store.key.get_secret_value() == "the file wins"
    assert store.secret.get_secret_value() == "the unit's"
    assert settings.bookings.key is settings.smtp.password is None


def test_what_the_import_says_of_a_secret_is_a_name_that_is_read() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "SUPABASE_SERVICE_ROLE_KEY": "c"}
    text = to_toml(load(None, keys))
    named = set(re.findall(r"ezrec secret set (\S+)`", text))
    assert named == {"store.key", "store.secret", "bookings.key"}
    assert named <= set(secret_files.SECRETS)
