/* Sends to a receiver that is closed: the refusal is told once, by whichever call comes first; then all goes on. */
#include "guest.h"

static void expect_refusal(int family, bool by_receiving) {
  handle receiver, socket, incoming, outgoing;
  socket_address closed, local;
  uint64_t permit, sent;
  incoming_datagram *list;
  size_t count;
  EXPECT(OK, udp_open(family, &receiver));
  EXPECT(OK, bind_to(receiver, loopback(family, 0)));
  EXPECT(OK, local_address(receiver, &closed));
  udp_drop(receiver);

  EXPECT(OK, udp_open(family, &socket));
  EXPECT(OK, bind_to(socket, loopback(family, 0)));
  EXPECT(OK, local_address(socket, &local));
  EXPECT(OK, stream_to(socket, &closed, &incoming, &outgoing));
  handle readable = incoming_subscribe(incoming);
  outgoing_datagram hello = datagram("hello", 5, NULL);
  /* The system limits how many refusals it sends, of all processes together: some datagrams have no answer. */
  for (int tries = 0;; tries++) {
    EXPECT(OK, check_send(outgoing, &permit));
    EXPECT(OK, send_list(outgoing, &hello, 1, &sent));
    if (ready_within(readable, 20)) break;
    if (tries == 500) FAIL("nothing was refused");
  }
  if (by_receiving) {
    EXPECT(CONNECTION_REFUSED, receive_list(incoming, 1, &list, &count));
  } else {
    EXPECT(OK, check_send(outgoing, &permit));
    EXPECT(CONNECTION_REFUSED, send_list(outgoing, &hello, 1, &sent));
  }
  EXPECT(OK, receive_list(incoming, 1, &list, &count));
  CHECK(count == 0);

  /* Somebody is there now. */
  EXPECT(OK, udp_open(family, &receiver));
  EXPECT(OK, bind_to(receiver, closed));
  handle theirs, answers;
  EXPECT(OK, stream_to(receiver, &local, &theirs, &answers));
  EXPECT(OK, send_all(outgoing, &hello, 1));
  EXPECT(OK, receive_some(theirs, 1, &list, &count));
  CHECK(count == 1 && list[0].length == 5);
  free_list(list, count);

  handle streams[] = {theirs, incoming}, senders[] = {answers, outgoing}, sockets[] = {receiver, socket};
  pollable_drop(readable);
  for (int i = 0; i < 2; i++) {
    incoming_drop(streams[i]);
    outgoing_drop(senders[i]);
    udp_drop(sockets[i]);
  }
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    expect_refusal(family, true);
    expect_refusal(family, false);
  }
  return 0;
}
