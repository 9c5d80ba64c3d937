/* Asks a TCP server and a UDP server on ports of 127.0.0.1, and prints what each answers: TCP UDP. */
#include "run-output.h"
#include "run-sockets.h"

IMPORT(TYPES, "[static]tcp-socket.create") void tcp_create(uint32_t family, created *);
IMPORT(TYPES, "[method]tcp-socket.connect") void tcp_connect(handle, ADDRESS, outcome *);
STREAM_IMPORTS(TYPES, "[method]tcp-socket.send", tcp)
IMPORT(TYPES, "[method]tcp-socket.send") handle tcp_send(handle, handle reader);
IMPORT(TYPES, "[method]tcp-socket.receive") void tcp_receive(handle, handle pair[2]);
IMPORT(TYPES, "[stream-read-0][method]tcp-socket.receive") uint32_t tcp_read(handle, void *, size_t);

static bool run(void) {
  created tcp;
  outcome done;
  tcp_create(0, &tcp);
  if (tcp.is_error) return true;
  tcp_connect(tcp.socket, LOOPBACK(atoi(argument(1))), &done);
  if (done.is_error) return true;
  uint64_t pair = tcp_new();
  tcp_send(tcp.socket, (handle)pair);
  tcp_write((handle)(pair >> 32), "by TCP", 6);
  tcp_drop((handle)(pair >> 32));
  handle answer[2];
  char buffer[100];
  tcp_receive(tcp.socket, answer);
  uint32_t count = tcp_read(answer[0], buffer, sizeof buffer);
  print(buffer, count >> 4);
  text("\n");

  handle udp = udp_socket();
  udp_connect(udp, LOOPBACK(atoi(argument(2))), &done);
  udp_send(udp, "by UDP", 6, false, LOOPBACK(0), &done);
  if (done.is_error) return true;
  received one;
  udp_receive(udp, &one);
  if (one.is_error) return true;
  print((char *)one.data, one.length);
  text("\n");
  return !close_output();
}
