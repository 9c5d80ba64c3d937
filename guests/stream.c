/* stream(): what came before it is delivered, what comes from others than its peer is not, and the streams outlive the socket. */
#include "guest.h"

struct end {
  handle socket, incoming, outgoing;
  socket_address local;
};

static struct end bound(int family) {
  struct end end;
  EXPECT(OK, udp_open(family, &end.socket));
  EXPECT(OK, bind_to(end.socket, loopback(family, 0)));
  EXPECT(OK, local_address(end.socket, &end.local));
  return end;
}

static void start(struct end *end, const struct end *peer) {
  EXPECT(OK, stream_to(end->socket, peer == NULL ? NULL : &peer->local, &end->incoming, &end->outgoing));
}

static void stop(struct end *end) {
  incoming_drop(end->incoming);
  outgoing_drop(end->outgoing);
}

static void say(const struct end *from, const char *text, const struct end *to) {
  outgoing_datagram one = datagram(text, strlen(text), &to->local);
  EXPECT(OK, send_all(from->outgoing, &one, 1));
}

static void expect_heard(const struct end *end, const char *text, const struct end *from) {
  incoming_datagram *list;
  size_t count;
  EXPECT(OK, receive_some(end->incoming, 1, &list, &count));
  if (count != 1 || list[0].length != strlen(text) || memcmp(list[0].data, text, list[0].length) != 0) {
    FAIL("expected \"%s\", got \"%.*s\"", text, (int)list[0].length, (char *)list[0].data);
  }
  CHECK(same_address(&list[0].remote, &from->local));
  free_list(list, count);
}

static void expect_silence(const struct end *end) {
  incoming_datagram *list;
  size_t count;
  EXPECT(OK, receive_list(end->incoming, 10, &list, &count));
  CHECK(count == 0);
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    struct end one = bound(family), peer = bound(family), stranger = bound(family);
    start(&peer, NULL);
    start(&stranger, NULL);

    say(&stranger, "between bind and stream", &one);
    start(&one, NULL);
    expect_heard(&one, "between bind and stream", &stranger);

    /* Queued while anybody was heard; then only the peer is. */
    say(&stranger, "stranger, early", &one);
    say(&peer, "peer, early", &one);
    stop(&one);
    start(&one, &peer);
    say(&stranger, "stranger, late", &one);
    say(&peer, "peer, late", &one);
    expect_heard(&one, "peer, early", &peer);
    expect_heard(&one, "peer, late", &peer);
    expect_silence(&one);

    stop(&one);
    start(&one, NULL);
    say(&stranger, "anybody again", &one);
    expect_heard(&one, "anybody again", &stranger);

    udp_drop(one.socket);
    say(&stranger, "the streams live on", &one);
    expect_heard(&one, "the streams live on", &stranger);
    stop(&one);
    struct end *others[] = {&peer, &stranger};
    for (int i = 0; i < 2; i++) {
      stop(others[i]);
      udp_drop(others[i]->socket);
    }
  }
  return 0;
}
