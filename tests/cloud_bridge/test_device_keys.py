"""Keys of devices: what is in them, and what is refused before one is made."""

from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from cloud_bridge.device_keys import KeyMistake, device_key
from edge_agent.cli.main import app

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "s" * 40


def claims(key: str, secret: str = SECRET) -> dict[str, object]:
    found: dict[str, object] = jwt.decode(key, secret, algorithms=["HS256"], options={"verify_exp": False})
    return found


def ran(*words: str, typed: str | None = None, **env: str) -> tuple[int, str, str]:
    env = {"SUPABASE_JWT_SECRET": "", **env}
    done = CliRunner().invoke(app, ["store", "device-key", *words], input=typed, env=env)
    assert done.exception is None or isinstance(done.exception, SystemExit)
    return done.exit_code, done.stdout, done.stderr


def test_a_key_says_which_device_and_has_an_end_far_away() -> None:
    assert claims(device_key(SECRET, "court-1", "club", NOW)) == {
        "role": "ezrec_device",
        "device": "court-1",
        "org": "club",
        "iat": int(NOW.timestamp()) - 60,
        "exp": int(NOW.timestamp()) + 3650 * 86400,
    }
    day = claims(device_key(SECRET, "court-1", "club", NOW, 1))
    assert day["exp"] == int(NOW.timestamp()) + 86400


@pytest.mark.parametrize(
    ("secret", "device", "org"),
    [
        ("short", "court-1", "club"),
        ("", "court-1", "club"),
        ("eyJ" + SECRET, "court-1", "club"),
        ("sb_secret_" + SECRET, "court-1", "club"),
        (SECRET, "Court 1", "club"),
        (SECRET, "court-1", "club\n"),
        (SECRET, "", "club"),
    ],
)
def test_what_makes_no_key_is_refused_without_telling_the_secret(secret: str, device: str, org: str) -> None:
    with pytest.raises(KeyMistake) as caught:
        device_key(secret, device, org, NOW)
    assert SECRET not in str(caught.value)


def test_the_secret_comes_from_anywhere_but_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    config = tmp_path / "ezrec.toml"
    config.write_text('[device]\norg = "rival"\n')
    answers = [
        ran("court-1", "--org", "club", typed=f"{SECRET}\n"),
        ran("court-1", "--org", "club", SUPABASE_JWT_SECRET=SECRET),
        ran("court-1", "--org", "club", "--secret-file", str(file)),
        ran("court-1", "--config", str(config), "--days", "7", typed=SECRET),
    ]
    for code, out, err in answers:
        assert (code, out.count("\n"), err.count("\n")) == (0, 1, 1)
        assert SECRET not in out + err
    assert [claims(out.strip())["org"] for _, out, _ in answers] == ["club", "club", "club", "rival"]


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    for words, typed in ((["court-1", "--org", "club"], ""), (["Court", "--org", "club"], SECRET)):
        code, out, err = ran(*words, typed=typed)
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, err = ran("court-1", "--org", "club", "--secret-file", str(tmp_path / "none"))
    assert (code, out, err.count("\n")) == (1, "", 1)
