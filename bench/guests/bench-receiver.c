/*
 * The benchmark's receiver as a guest: prints its port, then answers each line `DATAGRAMS` by reading as many, and printing how
 * many came and the nanoseconds that they took. `most=COUNT`: how many it asks for at most; 1 is wasi-libc's manner.
 */
#include "../../guests/guest.h"

int main(int argc, char **argv) {
  size_t most;
  if (argc < 2 || sscanf(argv[1], "most=%zu", &most) != 1) FAIL("usage: bench-receiver most=COUNT");
  handle socket, incoming, outgoing;
  socket_address local;
  EXPECT(OK, udp_open(IPV4, &socket));
  EXPECT(OK, bind_to(socket, loopback(IPV4, 0)));
  EXPECT(OK, set_receive_buffer_size(socket, 4 << 20));
  EXPECT(OK, local_address(socket, &local));
  EXPECT(OK, stream_to(socket, NULL, &incoming, &outgoing));
  printf("%d\n", port_of(&local));
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    size_t wanted = strtoul(line, NULL, 10), received = 0;
    uint64_t begin = clock_now();
    while (received < wanted) {
      incoming_datagram *list;
      size_t count, left = wanted - received;
      EXPECT(OK, receive_list(incoming, most < left ? most : left, &list, &count));
      free_list(list, count);
      if (count == 0) break;
      received += count;
    }
    printf("%zu %llu\n", received, clock_now() - begin);
    fflush(stdout);
  }
  return 0;
}
