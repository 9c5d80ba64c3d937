/* Tries what no rule allows: UDP on 127.0.0.1, TCP, names, HTTP. PORT is that of a server which waits for it. */
#include "run-output.h"
#include "run-sockets.h"

IMPORT(TYPES, "[static]tcp-socket.create") void tcp_create(uint32_t family, created *);
IMPORT("wasi:sockets/ip-name-lookup@0.3.0", "resolve-addresses")
void resolve_addresses(const char *, size_t, uint8_t result[20]);

static bool run(void) {
  int port = atoi(argument(1));
  outcome done;
  udp_bind(udp_socket(), LOOPBACK(0), &done);
  tell("bind", done.is_error, done.code);
  udp_connect(udp_socket(), LOOPBACK(port), &done);
  tell("connect", done.is_error, done.code);
  udp_send(udp_socket(), "denied", 6, true, LOOPBACK(port), &done);
  tell("send", done.is_error, done.code);
  created tcp;
  tcp_create(0, &tcp);
  tell("tcp", tcp.is_error, tcp.code);
  uint8_t names[20];
  resolve_addresses("localhost", 9, names);
  tell("names", names[0], names[4]); /* The first case is access-denied here too. */
  return false;
}
