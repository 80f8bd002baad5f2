import socket
from collections.abc import Generator

import pytest

from edge_agent.demo.throttle import ThrottleProxy
from edge_agent.drivers.objects.rate import TokenBucket


@pytest.fixture
def server() -> Generator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


def connected(line: ThrottleProxy, server: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.create_connection(("127.0.0.1", line.port), timeout=30)
    far, _ = server.accept()
    far.settimeout(30)
    return client, far


def receive(far: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        chunk = far.recv(count - len(data))
        if not chunk:
            break
        data += chunk
    return data


def test_bytes_pass_both_ways_and_ends_are_passed_on(server: socket.socket) -> None:
    with ThrottleProxy(port_of(server)) as line:
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"up" * 50_000)
            assert receive(far, 100_000) == b"up" * 50_000
            far.sendall(b"down")
            assert receive(client, 4) == b"down"
            client.shutdown(socket.SHUT_WR)
            assert far.recv(1) == b""
            far.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
        assert (line.bytes_up, line.connections) == (100_000, 1)


def test_a_cut_passes_exactly_so_many_bytes(server: socket.socket) -> None:
    with ThrottleProxy(port_of(server)) as line:
        line.cut_after(70_000)
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"x" * 70_000)
            assert line.wait_for_cut(30)
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        assert line.bytes_up == 70_000
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"x" * 70_000)
            assert len(receive(far, 70_000)) == 70_000


def test_a_refusing_line_resets_and_does_not_listen(server: socket.socket) -> None:
    with ThrottleProxy(port_of(server)) as line:
        client, far = connected(line, server)
        port = line.port
        with client, far:
            line.refuse()
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        line.accept()
        assert line.port == port
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"again")
            assert receive(far, 5) == b"again"


def test_a_stalled_line_holds_everything_until_it_flows(server: socket.socket) -> None:
    with ThrottleProxy(port_of(server)) as line:
        line.stall()
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"held")
            far.sendall(b"down")  # the way back is open, so the line is alive
            assert receive(client, 4) == b"down"
            assert line.bytes_up == 0
            line.flow()
            assert receive(far, 4) == b"held"


def test_a_server_that_is_away_is_a_reset(server: socket.socket) -> None:
    port = port_of(server)
    server.close()
    with (
        ThrottleProxy(port) as line,
        pytest.raises(ConnectionResetError),  # on the first read, or already while the connection is made
        socket.create_connection(("127.0.0.1", line.port), timeout=30) as client,
    ):
        client.recv(1)


def test_the_rate_is_kept_over_all_who_share_it() -> None:
    bucket = TokenBucket(bytes_per_s=1)
    assert bucket.reserve(1_000_000) == 0
    # Hours of slack: only the sums are looked at, not how long the calls took.
    assert 990_000 < bucket.reserve(1_000_000) <= 1_000_000
    assert 1_990_000 < bucket.reserve(1) <= 2_000_000


def test_a_slow_line_spreads_what_it_passes(server: socket.socket) -> None:
    with ThrottleProxy(port_of(server), up_bytes_per_s=0.001) as line:
        client, far = connected(line, server)
        with client, far:
            client.sendall(b"x" * 1_000_000)
            # The first chunk goes on credit, the next is due in half a year.
            assert receive(far, 1) == b"x"
            assert line.bytes_up <= 16 * 1024
