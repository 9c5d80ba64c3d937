/*
 * Two sockets talk: batches go from a connected client to a server, which verifies each datagram and its source, and echoes;
 * the client verifies the echoes. Waits are polls of the stream and a timeout of wasi:clocks together.
 */
#include "guest.h"

enum { BATCH = 100, ROUNDS = 8, LARGEST = 1200 };

static uint8_t payloads[BATCH][LARGEST];

/* The bytes of datagram `i` of a round: its length varies, and its content tells it apart. */
static size_t fill(uint8_t *data, int round, int i) {
  size_t length = i % 16 == 0 ? 0 : (size_t)(i * 37 + round) % LARGEST;
  for (size_t at = 0; at < length; at++) data[at] = (uint8_t)(round * 31 + i * 7 + at);
  return length;
}

static void expect_batch(handle incoming, int round, const socket_address *from) {
  static uint8_t expected[LARGEST];
  for (int i = 0; i < BATCH;) {
    incoming_datagram *list;
    size_t count;
    EXPECT(OK, receive_some(incoming, 100, &list, &count));
    CHECK(count <= 100);
    for (size_t k = 0; k < count; k++, i++) {
      size_t length = fill(expected, round, i);
      if (list[k].length != length) FAIL("round %d: datagram %d has %zu bytes, not %zu", round, i, list[k].length, length);
      CHECK(memcmp(list[k].data, expected, length) == 0);
      CHECK(same_address(&list[k].remote, from));
    }
    free_list(list, count);
  }
}

static void exchange(int family) {
  handle server, client, server_in, server_out, client_in, client_out;
  socket_address server_address, client_address;
  EXPECT(OK, udp_open(family, &server));
  EXPECT(OK, udp_open(family, &client));
  EXPECT(OK, bind_to(server, loopback(family, 0)));
  EXPECT(OK, bind_to(client, loopback(family, 0)));
  EXPECT(OK, local_address(server, &server_address));
  EXPECT(OK, local_address(client, &client_address));
  EXPECT(OK, stream_to(server, NULL, &server_in, &server_out));
  EXPECT(OK, stream_to(client, &server_address, &client_in, &client_out));

  handle readable = incoming_subscribe(server_in);
  CHECK(!pollable_ready(readable));
  CHECK(!ready_within(readable, 20));

  outgoing_datagram there[BATCH], back[BATCH];
  for (int round = 0; round < ROUNDS; round++) {
    for (int i = 0; i < BATCH; i++) {
      size_t length = fill(payloads[i], round, i);
      there[i] = datagram(payloads[i], length, i % 3 == 0 ? &server_address : NULL);
      back[i] = datagram(payloads[i], length, &client_address);
    }
    EXPECT(OK, send_all(client_out, there, BATCH));
    pollable_block(readable);
    CHECK(pollable_ready(readable));
    expect_batch(server_in, round, &client_address);
    CHECK(!pollable_ready(readable));
    EXPECT(OK, send_all(server_out, back, BATCH));
    expect_batch(client_in, round, &server_address);
  }

  pollable_drop(readable);
  incoming_drop(server_in);
  outgoing_drop(server_out);
  incoming_drop(client_in);
  outgoing_drop(client_out);
  udp_drop(server);
  udp_drop(client);
  printf("%s: %d datagrams there and back\n", family == IPV4 ? "ipv4" : "ipv6", BATCH * ROUNDS);
}

int main(void) {
  exchange(IPV4);
  exchange(IPV6);
  return 0;
}
