/* What each call gives in each state of a socket: unbound, binding, bound, streaming to anybody, streaming to one peer. */
#include "guest.h"

enum state { UNBOUND, BINDING, BOUND, STREAMING, CONNECTED, STATES };

static void expect_state(handle socket, int family, enum state state) {
  socket_address address, local = loopback(family, 0);
  int limit;
  uint64_t size;
  bool is_bound = state >= BOUND;
  EXPECT(state == UNBOUND ? OK : state == BINDING ? CONCURRENCY_CONFLICT : INVALID_STATE, start_bind(socket, local));
  if (state == UNBOUND) {
    /* Ended by an address that is taken: unbound again. */
    handle taker;
    EXPECT(OK, finish_bind(socket));
    EXPECT(OK, local_address(socket, &local));
    udp_drop(socket);
    EXPECT(OK, udp_open(family, &taker));
    EXPECT(OK, bind_to(taker, local));
    EXPECT(OK, udp_open(family, &socket));
    EXPECT(ADDRESS_IN_USE, bind_to(socket, local));
    udp_drop(taker);
  }
  if (state != BINDING) EXPECT(NOT_IN_PROGRESS, finish_bind(socket));
  if (!is_bound) EXPECT(INVALID_STATE, stream_briefly(socket, NULL));
  EXPECT(is_bound ? OK : INVALID_STATE, local_address(socket, &address));
  EXPECT(state == CONNECTED ? OK : INVALID_STATE, remote_address(socket, &address));
  CHECK(udp_address_family(socket) == family);
  EXPECT(OK, hop_limit(socket, &limit));
  EXPECT(OK, set_hop_limit(socket, 255));
  EXPECT(OK, receive_buffer_size(socket, &size));
  EXPECT(OK, set_receive_buffer_size(socket, 16000));
  EXPECT(OK, send_buffer_size(socket, &size));
  EXPECT(OK, set_send_buffer_size(socket, 16000));
  udp_drop(socket);
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    for (enum state state = UNBOUND; state < STATES; state++) {
      handle socket;
      socket_address peer = loopback(family, 54321);
      EXPECT(OK, udp_open(family, &socket));
      if (state >= BINDING) EXPECT(OK, start_bind(socket, loopback(family, 0)));
      if (state >= BOUND) EXPECT(OK, finish_bind(socket));
      if (state == STREAMING) EXPECT(OK, stream_briefly(socket, NULL));
      if (state == CONNECTED) EXPECT(OK, stream_briefly(socket, &peer));
      expect_state(socket, family, state);
    }
  }
  return 0;
}
