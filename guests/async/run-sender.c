/* Sends so many datagrams to a port of 127.0.0.1, each when the one before was sent: PORT COUNT. */
#include "run-output.h"
#include "run-sockets.h"

static bool run(void) {
  int port = atoi(argument(1)), count = atoi(argument(2));
  handle socket = udp_socket();
  uint32_t failed = 0;
  for (int i = 0; i < count; i++) {
    char data[] = {'n', 'o', ' ', (char)('0' + i / 10), (char)('0' + i % 10)};
    outcome sent;
    udp_send(socket, data, sizeof data, true, LOOPBACK(port), &sent);
    failed += sent.is_error;
  }
  text("failed: ");
  number(failed);
  text("\n");
  return failed > 0;
}
