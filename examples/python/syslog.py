"""
Sends the lines of standard input to a syslog server, one datagram each, with the sockets of Python's own library. Where the
server is, a DNS server tells.

    python3 syslog.py DNS-SERVER:PORT NAME:PORT [LINES-A-SECOND] < app.log

Nothing in it knows of WebAssembly: scripts/python.mjs makes a component of it and of CPython, with PyPI's componentize-py.

    wasi-udp run syslog.wasm --allow-bind 0.0.0.0:0 --allow-send 192.0.2.0/24:53 --allow-send 192.0.2.0/24:514 -- \
        192.0.2.53:53 log.example.test:514 5000 < app.log
"""

import os
import socket
import struct
import sys
import time

# <14>: facility "user", severity "info" (RFC 5424, 6.2.1).
HEADER = b"<14>1 - - replay - - - "


def parse(text):
    """HOST:PORT as Python has it, a tuple."""
    host, port = text.rsplit(":", 1)
    return host, int(port)


def query(identifier, name):
    """Asks for the IPv4 address of a name (RFC 1035, 4.1)."""
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("ascii").split(b"."))
    return struct.pack("!6H", identifier, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def first_address(answer, question):
    """The IPv4 address of the first record, which has the name as a pointer to the question; None where there is none."""
    records = struct.unpack_from("!H", answer, 6)[0]
    if records == 0:
        return None
    kind, _, _, length = struct.unpack_from("!2HIH", answer, len(question) + 2)
    return socket.inet_ntoa(answer[len(question) + 12 :][:4]) if (kind, length) == (1, 4) else None


def resolve(sock, server, name):
    """Asks up to five times, and waits a second for each answer."""
    identifier = int.from_bytes(os.urandom(2), "big")
    question = query(identifier, name)
    sock.settimeout(1)
    for _ in range(5):
        sock.sendto(question, server)
        try:
            answer, source = sock.recvfrom(512)
        except TimeoutError:
            continue
        if source == server and answer[:2] == question[:2]:
            address = first_address(answer, question)
            if address is None:
                raise SystemExit(f"{server[0]}:{server[1]} knows no address of {name}")
            return address
    raise SystemExit(f"{server[0]}:{server[1]} does not answer")


def main():
    if len(sys.argv) < 3:
        raise SystemExit("usage: syslog.py DNS-SERVER:PORT NAME:PORT [LINES-A-SECOND] < app.log")
    server, (name, port) = parse(sys.argv[1]), parse(sys.argv[2])
    rate = int(sys.argv[3]) if len(sys.argv) > 3 else None

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        destination = resolve(sock, server, name), port
        sock.settimeout(None)
        sent = 0
        start = time.monotonic()
        for line in sys.stdin.buffer:
            sock.sendto(HEADER + line.rstrip(b"\n"), destination)
            sent += 1
            if rate is not None and sent % 100 == 0:
                time.sleep(max(0, start + sent / rate - time.monotonic()))
        seconds = time.monotonic() - start
    print(f"{name} is {destination[0]}: {sent} lines in {seconds:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
