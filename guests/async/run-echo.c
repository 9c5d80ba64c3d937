/* Answers so many datagrams on a port of 127.0.0.1: PORT COUNT. */
#include "run-output.h"
#include "run-sockets.h"

static bool run(void) {
  handle socket = udp_socket();
  outcome bound;
  udp_bind(socket, LOOPBACK(atoi(argument(1))), &bound);
  tell("bind", bound.is_error, bound.code);
  for (int left = atoi(argument(2)); left > 0; left--) {
    received one;
    udp_receive(socket, &one);
    if (one.is_error) return true;
    const uint8_t *ip = one.remote.address;
    outcome sent;
    udp_send(socket, one.data, one.length, true, IPV4(ip[0], ip[1], ip[2], ip[3], one.remote.port), &sent);
    free(one.data);
    if (sent.is_error) return true;
  }
  return false;
}
