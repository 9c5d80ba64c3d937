/* Connects, reconnects and disconnects; what stream() must refuse; and that a ready stream is ready. */
#include "guest.h"

enum { NOBODY = 4320 };

static handle bound(int family, socket_address local) {
  handle socket;
  EXPECT(OK, udp_open(family, &socket));
  EXPECT(OK, bind_to(socket, local));
  return socket;
}

static void reconnects(int family) {
  handle socket = bound(family, unspecified(family, 0));
  socket_address local, now, remote;
  socket_address peers[] = {loopback(family, NOBODY), loopback(family, NOBODY + 1)};
  const socket_address *steps[] = {NULL, NULL, &peers[0], &peers[0], &peers[1], NULL, &peers[0]};
  EXPECT(OK, local_address(socket, &local));
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    EXPECT(OK, stream_briefly(socket, steps[i]));
    if (steps[i] == NULL) {
      EXPECT(INVALID_STATE, remote_address(socket, &remote));
    } else {
      EXPECT(OK, remote_address(socket, &remote));
      CHECK(same_address(&remote, steps[i]));
    }
    EXPECT(OK, local_address(socket, &now));
    CHECK(port_of(&now) == port_of(&local));
  }
  udp_drop(socket);
}

static void reconnects_around_receives(int family) {
  handle socket = bound(family, unspecified(family, 0));
  socket_address peer = loopback(family, NOBODY);
  for (int i = 0; i < 200; i++) {
    handle incoming, outgoing;
    incoming_datagram *list;
    size_t count;
    EXPECT(OK, stream_to(socket, i % 2 == 0 ? NULL : &peer, &incoming, &outgoing));
    EXPECT(OK, receive_list(incoming, 1, &list, &count));
    CHECK(count == 0);
    incoming_drop(incoming);
    outgoing_drop(outgoing);
  }
  udp_drop(socket);
}

static void refusals(int family) {
  handle socket;
  socket_address peer = loopback(family, NOBODY), no_port = loopback(family, 0), nowhere = unspecified(family, NOBODY);
  socket_address other = loopback(family == IPV4 ? IPV6 : IPV4, NOBODY);
  EXPECT(OK, udp_open(family, &socket));
  EXPECT(INVALID_STATE, stream_briefly(socket, &peer));
  EXPECT(OK, bind_to(socket, unspecified(family, 0)));
  EXPECT(INVALID_ARGUMENT, stream_briefly(socket, &nowhere));
  EXPECT(INVALID_ARGUMENT, stream_briefly(socket, &no_port));
  EXPECT(INVALID_ARGUMENT, stream_briefly(socket, &other));
  if (family == IPV6) {
    socket_address mapped = ipv6(0, 0, 0xffff, 0x7f00, 1, NOBODY);
    EXPECT(INVALID_ARGUMENT, stream_briefly(socket, &mapped));
  }
  udp_drop(socket);
}

/* If a pollable says that the stream is ready, it sends. */
static void ready_streams_send(int family) {
  socket_address peer = loopback(family, NOBODY);
  for (int i = 0; i < 100; i++) {
    handle socket = bound(family, loopback(family, 0)), incoming, outgoing;
    uint64_t permit, sent;
    EXPECT(OK, stream_to(socket, &peer, &incoming, &outgoing));
    handle pollable = outgoing_subscribe(outgoing);
    pollable_block(pollable);
    pollable_drop(pollable);
    EXPECT(OK, check_send(outgoing, &permit));
    CHECK(permit > 0);
    outgoing_datagram hello = datagram("hello", 5, NULL);
    EXPECT(OK, send_list(outgoing, &hello, 1, &sent));
    CHECK(sent == 1);
    incoming_drop(incoming);
    outgoing_drop(outgoing);
    udp_drop(socket);
  }
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    reconnects(family);
    reconnects_around_receives(family);
    refusals(family);
    ready_streams_send(family);
  }
  return 0;
}
