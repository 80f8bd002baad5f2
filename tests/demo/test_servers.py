import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Generator
from pathlib import Path

import paho.mqtt.client as mqtt
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.demo.child import Child, find_binary, free_port, is_free
from edge_agent.demo.servers import Mosquitto, SeaweedFS, ServerError

ACL = "user writer\ntopic readwrite #\n\nuser reader\ntopic read open/#\n"
ACCOUNTS = {"writer": "w" * 20, "reader": "r" * 20}


@pytest.fixture
def broker(tmp_path: Path) -> Generator[Mosquitto]:
    with Mosquitto(
        tmp_path / "broker", accounts=ACCOUNTS, acl=ACL, socket_path=tmp_path / "b.sock"
    ) as broker:
        yield broker


def told(broker: Mosquitto, account: str, password: str | None, *, through_socket: bool = False) -> list[str]:
    """What an account is told on subscribing: its refusal, or the retained topics until the last one."""
    heard: list[str] = []
    over = threading.Event()
    client = mqtt.Client(CallbackAPIVersion.VERSION2, transport="unix" if through_socket else "tcp")
    client.username_pw_set(account, password)

    def on_connect(
        client: mqtt.Client, _data: object, _flags: object, reason: object, _props: object
    ) -> None:
        if str(reason) == "Success":
            client.subscribe("#", qos=1)
        else:
            heard.append(str(reason))
            over.set()

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        heard.append(message.topic)
        if message.topic == "open/z":
            over.set()

    client.on_connect, client.on_message = on_connect, on_message
    client.connect(str(broker.socket_path) if through_socket else "127.0.0.1", broker.port)
    client.loop_start()
    assert over.wait(30)
    client.disconnect()
    client.loop_stop()
    return heard


def publish(broker: Mosquitto, *topics: str) -> None:
    for topic in topics:
        program = [find_binary("mosquitto_pub", ""), "-p", str(broker.port), "-u", "writer", "-P", "w" * 20]
        subprocess.run([*program, "-q", "1", "-r", "-t", topic, "-m", "x"], check=True, timeout=30)


def test_broker_knows_its_accounts_and_rules(broker: Mosquitto) -> None:
    publish(broker, "closed/a", "open/a", "open/z")
    assert sorted(told(broker, "writer", "w" * 20)) == ["closed/a", "open/a", "open/z"]
    assert sorted(told(broker, "reader", "r" * 20, through_socket=True)) == ["open/a", "open/z"]
    assert told(broker, "reader", "wrong") == ["Not authorized"]
    assert told(broker, "stranger", "x") == ["Not authorized"]


def test_broker_keeps_what_is_retained_over_a_restart_on_its_port(broker: Mosquitto) -> None:
    publish(broker, "open/z")
    port, pid = broker.port, broker.pid
    broker.restart()
    assert (broker.port, broker.pid == pid) == (port, False)
    assert told(broker, "writer", "w" * 20) == ["open/z"]


def test_broker_killed_hard_comes_back(broker: Mosquitto) -> None:
    pid = broker.pid
    broker.kill9()
    assert not psutil.pid_exists(pid)
    broker.start()
    publish(broker, "open/z")
    assert told(broker, "writer", "w" * 20, through_socket=True) == ["open/z"]


def test_broker_passwords_are_nobody_elses(broker: Mosquitto, tmp_path: Path) -> None:
    passwords = tmp_path / "broker" / "passwords"
    assert "w" * 20 not in passwords.read_text()
    assert passwords.stat().st_mode & 0o077 == 0


def test_occupied_port_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"^port {port} on 127.0.0.1 is occupied .*broker.*$"):
            Mosquitto(tmp_path / "broker", accounts=ACCOUNTS, port=port).start()
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"^port {port} on 127.0.0.1 is occupied .*bucket.*$"):
            SeaweedFS(tmp_path / "weed", port=port).start()


def test_refused_configuration_is_the_brokers_own_words(tmp_path: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", accounts=ACCOUNTS, config="no_such_option true\n")
    with pytest.raises(ServerError, match=r"no_such_option|configuration"):
        broker.start()
    with pytest.raises(ServerError, match="not running"):
        _ = broker.pid


def test_missing_program_names_its_package() -> None:
    with pytest.raises(ServerError, match="no-such-program is not installed: it comes with the package p"):
        find_binary("no-such-program", "the package p")


def test_server_listens_on_loopback_only_and_leaves_nothing(tmp_path: Path) -> None:
    server = SeaweedFS(tmp_path / "weed")
    with server:
        process = psutil.Process(server.pid)
        listening = {
            connection.laddr.ip
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        port = server.port
    assert not process.is_running()
    assert is_free(port)


def test_child_ends_with_its_parent(tmp_path: Path) -> None:
    parent = textwrap.dedent(
        """
        import json, os, sys
        from pathlib import Path
        from edge_agent.demo.child import Child
        child = Child("sleeper", Path(sys.argv[1]))
        child.spawn(["sleep", "600"], os.environ, lambda: True, 10)
        print(json.dumps(child.pid), flush=True)
        sys.stdin.read()
        """
    )
    command = [sys.executable, "-c", parent, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        sleeper = psutil.Process(json.loads(process.stdout.readline()))
        process.kill()
    psutil.wait_procs([sleeper], timeout=30)
    assert not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE


def test_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    child = Child("sleeper", tmp_path)
    started: list[int] = []

    def ready() -> bool:
        started.append(child.pid)
        return False

    with pytest.raises(ServerError, match="sleeper was not ready in time: it said nothing"):
        child.spawn(["sleep", "600"], os.environ, ready, timeout_s=0.1)
    assert not psutil.pid_exists(started[0])
    assert not child.running
