/*
 * The benchmark's sender as a guest: answers the lines that crates/peers answers. `to=A.B.C.D:PORT sizes=BYTES batch=COUNT`;
 * `once` sends a batch, a number is the milliseconds of a slice.
 */
#include "../../guests/guest.h"

/* The least nanoseconds that are measured as one, so that reading the clock does not count. */
enum { CHUNK = 500000 };

static handle outgoing;
static outgoing_datagram *list;
static size_t batch;

/* Sends a batch as a program does that gives up what is not accepted: how many were. */
static size_t send_batch(void) {
  uint64_t permit, sent;
  size_t accepted = 0;
  while (accepted < batch) {
    EXPECT(OK, check_send(outgoing, &permit));
    if (permit == 0) {
      handle writable = outgoing_subscribe(outgoing);
      pollable_block(writable);
      pollable_drop(writable);
      continue;
    }
    size_t left = batch - accepted;
    EXPECT(OK, send_list(outgoing, list + accepted, permit < left ? permit : left, &sent));
    if (sent == 0) break;
    accepted += sent;
  }
  return accepted;
}

/* The nanoseconds a datagram of the quickest chunk. */
static double slice(uint64_t milliseconds) {
  static size_t batches = 1;
  double least = 1e18;
  uint64_t end = clock_now() + milliseconds * 1000000;
  while (clock_now() < end || least == 1e18) {
    uint64_t begin = clock_now();
    size_t sent = 0;
    for (size_t i = 0; i < batches; i++) sent += send_batch();
    uint64_t elapsed = clock_now() - begin;
    if (elapsed < CHUNK) {
      batches *= 2;
    } else if (sent > 0 && (double)elapsed / sent < least) {
      least = (double)elapsed / sent;
    }
  }
  return least;
}

int main(int argc, char **argv) {
  int a, b, c, d, port, size;
  if (argc < 4 || sscanf(argv[1], "to=%d.%d.%d.%d:%d", &a, &b, &c, &d, &port) != 5 ||
      sscanf(argv[2], "sizes=%d", &size) != 1 || sscanf(argv[3], "batch=%zu", &batch) != 1)
    FAIL("usage: bench-sender to=A.B.C.D:PORT sizes=BYTES batch=COUNT");
  socket_address remote = ipv4(a, b, c, d, port);
  handle socket, incoming;
  EXPECT(OK, udp_open(IPV4, &socket));
  EXPECT(OK, bind_to(socket, unspecified(IPV4, 0)));
  EXPECT(OK, stream_to(socket, NULL, &incoming, &outgoing));
  uint8_t *payload = malloc(batch * size);
  memset(payload, 0x5a, batch * size);
  list = malloc(batch * sizeof *list);
  for (size_t i = 0; i < batch; i++) list[i] = datagram(payload + i * size, size, &remote);
  printf("ready\n");
  fflush(stdout);
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    uint64_t milliseconds = strtoull(line, NULL, 10);
    if (milliseconds == 0) printf("%zu\n", send_batch());
    else printf("%.2f\n", slice(milliseconds));
    fflush(stdout);
  }
  return 0;
}
