"""
A sender of the benchmark, in CPython and in a component of it: `sender.py HOST:PORT BYTES` sends as many datagrams as each line
of standard input says, one sendto each, and answers with the nanoseconds that they took.
"""

import socket
import sys
import time


def main():
    host, port = sys.argv[1].rsplit(":", 1)
    destination = host, int(port)
    payload = b"x" * int(sys.argv[2])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    print(sys.version.split()[0], flush=True)
    for line in sys.stdin:
        count = int(line)
        start = time.perf_counter_ns()
        for _ in range(count):
            sock.sendto(payload, destination)
        print(time.perf_counter_ns() - start, flush=True)


if __name__ == "__main__":
    main()
