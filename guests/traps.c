/* Breaks a rule that must trap: the one that the argument names. */
#include "guest.h"

static outgoing_datagram list[2048];

int main(int argc, char **argv) {
  const char *rule = argc > 1 ? argv[1] : "";
  handle socket, incoming, outgoing, second, third;
  socket_address peer = loopback(IPV4, 4320);
  uint64_t permit, sent;
  for (int i = 0; i < 2048; i++) list[i] = datagram("hello", 5, NULL);
  EXPECT(OK, udp_open(IPV4, &socket));
  EXPECT(OK, bind_to(socket, loopback(IPV4, 0)));
  EXPECT(OK, stream_to(socket, &peer, &incoming, &outgoing));
  printf("before\n");
  fflush(stdout);

  if (strcmp(rule, "send-too-much") == 0) {
    EXPECT(OK, check_send(outgoing, &permit));
    CHECK(permit > 0 && permit < 2048);
    send_list(outgoing, list, permit + 1, &sent);
  } else if (strcmp(rule, "send-without-check") == 0) {
    send_list(outgoing, list, 1, &sent);
  } else if (strcmp(rule, "send-twice") == 0) {
    EXPECT(OK, check_send(outgoing, &permit));
    EXPECT(OK, send_list(outgoing, list, 1, &sent));
    send_list(outgoing, list, 1, &sent);
  } else if (strcmp(rule, "stream-twice") == 0) {
    stream_to(socket, NULL, &second, &third);
  } else if (strcmp(rule, "poll-nothing") == 0) {
    uint32_t ready[2];
    poll_poll(NULL, 0, ready);
  } else if (strcmp(rule, "poll-storm") == 0) {
    uint32_t count = 20000000, ready[2];
    handle *pollables = malloc(count * sizeof *pollables);
    CHECK(pollables != NULL);
    pollables[0] = clock_subscribe_duration(0);
    for (uint32_t i = 1; i < count; i++) pollables[i] = pollables[0];
    poll_poll(pollables, count, ready);
  } else if (strcmp(rule, "subscribe-storm") == 0) {
    for (;;) incoming_subscribe(incoming);
  } else if (strcmp(rule, "unreachable") == 0) {
    __builtin_trap();
  } else {
    FAIL("no rule %s", rule);
  }
  printf("after\n");
  return 0;
}
