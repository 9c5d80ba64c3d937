/*
 * A guest component: asks a UDP echo server some times, and tells how long each answer took. scripts/guests.mjs builds it;
 *
 *     npx wasi-udp run build/guests/ping.wasm --allow-bind 0.0.0.0:0 --allow-send 192.0.2.1:7 -- 192.0.2.1 7
 *
 * gives it what it needs of the network, and no more.
 */
#include "../../guests/guest.h"

enum { COUNT = 5, PATIENCE_MS = 1000 };

int main(int argc, char **argv) {
  int a, b, c, d;
  if (argc != 3 || sscanf(argv[1], "%d.%d.%d.%d", &a, &b, &c, &d) != 4) FAIL("usage: ping ADDRESS PORT");
  socket_address server = ipv4(a, b, c, d, atoi(argv[2]));
  handle socket, incoming, outgoing;
  EXPECT(OK, udp_open(IPV4, &socket));
  EXPECT(OK, bind_to(socket, unspecified(IPV4, 0)));
  EXPECT(OK, stream_to(socket, &server, &incoming, &outgoing));
  handle readable = incoming_subscribe(incoming);
  int answers = 0;
  for (int i = 1; i <= COUNT; i++) {
    char text[16];
    outgoing_datagram question = datagram(text, sprintf(text, "ping %d", i), NULL);
    uint64_t started = clock_now();
    EXPECT(OK, send_all(outgoing, &question, 1));
    if (!ready_within(readable, PATIENCE_MS)) {
      printf("no answer to %s\n", text);
      continue;
    }
    incoming_datagram *list;
    size_t count;
    EXPECT(OK, receive_list(incoming, 1, &list, &count));
    if (count == 0) continue;
    printf("%.*s, %llu microseconds\n", (int)list[0].length, (char *)list[0].data, (clock_now() - started) / 1000);
    answers += list[0].length == question.length && memcmp(list[0].data, text, question.length) == 0;
    free_list(list, count);
  }
  printf("%d of %d answered\n", answers, COUNT);
  return answers == COUNT ? 0 : 1;
}
