"""`ezrec doctor` without a broker: each fault provoked is found, and nothing else."""

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.demo.child import free_port
from edge_agent.demo.servers import SeaweedFS
from edge_agent.drivers.objects import S3Store
from schemas.agent import AgentAvailability, Alarm
from schemas.registry import AGENT_AVAILABILITY, ALARM
from tests.runtime.toys import NOON, PASSWORDS, Ear, broker_in, endpoint


@pytest.fixture
def config(tmp_path: Path) -> Path:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "cli").write_text("word")
    (secrets / "cli").chmod(0o600)
    file = tmp_path / "ezrec.toml"
    file.write_text(
        f'[storage]\nroot = "{tmp_path}/store"\nring = "{tmp_path}/ring"\n'
        f'[mqtt]\nport = {free_port()}\npasswords = "{secrets}"\n[api]\nport = {free_port()}\n'
    )
    return file


def wrong(config: Path) -> dict[str, str]:
    """What is wrong but the clock, which is as it is on this machine."""
    done = CliRunner().invoke(app, ["doctor", "--json", "--config", str(config)])
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert said["ok"] is False
    found = {one["what"]: one["text"] for one in said["findings"] if one["mend"]}
    found.pop("clock", None)
    return found


def test_a_broker_that_is_down_is_all_that_is_wrong(config: Path) -> None:
    found = wrong(config)
    assert list(found) == ["broker"]
    assert "does not accept cli" in found["broker"]
    done = CliRunner().invoke(app, ["doctor", "--config", str(config)])
    assert "WRONG broker: the broker at 127.0.0.1" in done.stdout
    assert "ok    bucket: folder takes uploads\n" in done.stdout


def test_ffmpeg_missing(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(wrong(config)) == {"broker", "ffmpeg"}


def test_settings_that_cannot_be_read(config: Path) -> None:
    config.write_text("[film]\nslot_s = 99\n")
    assert "film.slot_s" in wrong(config)["settings"]


def test_folders_that_cannot_be_written(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EZREC_STORAGE__RING", "/proc/ring")
    monkeypatch.setenv("EZREC_STORE__FOLDER", "/proc/bucket")
    assert set(wrong(config)) == {"ring", "bucket", "broker"}
    monkeypatch.setenv("EZREC_STORAGE__ROOT", "/proc/store")
    assert "storage" in wrong(config)


def test_a_bucket_that_does_not_answer(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("KIND", "s3"), ("ENDPOINT", f"http://127.0.0.1:{free_port()}"), ("KEY", "k")):
        monkeypatch.setenv(f"EZREC_STORE__{name}", value)
    monkeypatch.setenv("EZREC_STORE__SECRET", "s")
    assert set(wrong(config)) == {"bucket", "broker"}


def test_a_bucket_whose_key_is_wrong(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SeaweedFS(tmp_path / "weed") as server:
        right = server.device
        values = {"KIND": "s3", "ENDPOINT": server.endpoint, "BUCKET": right.bucket, "KEY": right.key}
        for name, value in {**values, "SECRET": right.secret}.items():
            monkeypatch.setenv(f"EZREC_STORE__{name}", value)
        assert set(wrong(config)) == {"broker"}
        with S3Store(right) as store:
            assert store.list_uploads("club/court-1/ezrec-check.txt") == ()
        monkeypatch.setenv("EZREC_STORE__SECRET", "wrong")
        assert set(wrong(config)) == {"bucket", "broker"}


def test_agents_that_are_away_and_alarms_that_stand(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets" / "cli").write_text(PASSWORDS["cli"])
    with broker_in(tmp_path / "broker") as server, Ear(endpoint(server, "merger")) as merger:
        monkeypatch.setenv("EZREC_MQTT__PORT", str(server.port))
        alarm = Alarm(severity="major", text="no room", since=NOON, mend="make room")
        merger.say(ALARM.at(agent="merger", alarm="plans_unwritten"), alarm)
        here = AgentAvailability(state="online", session="s")
        merger.say(AGENT_AVAILABILITY.at(agent="merger"), here)
        found = wrong(config)
    others = {"camera_left", "camera_right", "processor", "uploader", "health", "bridge"}
    assert set(found) == {*others, "merger/plans_unwritten"}
    assert found["merger/plans_unwritten"] == "major since 2026-05-01 12:00 UTC: no room"


def test_secrets_everybody_can_read(config: Path, tmp_path: Path) -> None:
    (tmp_path / "secrets" / "cli").chmod(0o644)
    assert wrong(config)["secrets"] == "everybody here can read cli"


def test_a_port_that_another_process_holds(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("EZREC_API__PORT", str(other.getsockname()[1]))
        other.settimeout(0)
        assert set(wrong(config)) == {"api", "broker"}


def test_preflight_without_a_broker_is_one_line(config: Path) -> None:
    done = CliRunner().invoke(app, ["preflight", "--config", str(config)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)
    assert CliRunner().invoke(app, ["preflight", "B 1", "--config", str(config)]).exit_code == 2
