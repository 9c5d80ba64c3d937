/* Tries to bind to the first port of 127.0.0.1 that is named, to connect and to send to the second; tells what each gave. */
#include "guest.h"

int main(int argc, char **argv) {
  if (argc != 3) FAIL("usage: denied PORT PORT");
  handle socket, incoming, outgoing;
  socket_address remote = loopback(IPV4, atoi(argv[2]));
  EXPECT(OK, udp_open(IPV4, &socket));
  error_code bind = bind_to(socket, loopback(IPV4, atoi(argv[1])));
  printf("bind: %s\n", error_name(bind));
  if (bind != OK) return 0;
  printf("connect: %s\n", error_name(stream_briefly(socket, &remote)));
  EXPECT(OK, stream_to(socket, NULL, &incoming, &outgoing));
  uint64_t permit, sent = 0;
  outgoing_datagram one = datagram("from the guest", 14, &remote);
  EXPECT(OK, check_send(outgoing, &permit));
  printf("send: %s\n", error_name(send_list(outgoing, &one, 1, &sent)));
  return 0;
}
