/* Sockets of 0.2 and of 0.3 in one component: one of 0.3 sends to one of 0.2, which answers. */
#include "async.h"

IMPORT("[export]$root", "[task-return]exchange") void return_exchange(const uint32_t *, uint32_t);

/* What is used of 0.2: see wasi-udp.h of the guests of that version. Its results begin with whether there is an error. */
#define OLD(interface, name) IMPORT("wasi:" interface "@0.2.12", name)
typedef struct {
  uint32_t is_error, words[2];
} old_result;
typedef struct {
  uint64_t is_error, value;
} old_u64;
typedef struct {
  uint8_t *data;
  uint32_t length;
  socket_address remote;
} old_incoming;
typedef struct {
  const uint8_t *data;
  uint32_t length;
  uint8_t has_remote;
  socket_address remote;
} old_outgoing;
OLD("sockets/instance-network", "instance-network") handle old_network(void);
OLD("sockets/network", "[resource-drop]network") void old_drop_network(handle);
OLD("sockets/udp-create-socket", "create-udp-socket") void old_create(uint32_t family, old_result *);
OLD("sockets/udp", "[method]udp-socket.start-bind")
void old_start_bind(handle, handle network, FLAT_ADDRESS, old_result *);
OLD("sockets/udp", "[method]udp-socket.finish-bind") void old_finish_bind(handle, old_result *);
OLD("sockets/udp", "[method]udp-socket.local-address") void old_local_address(handle, result_address *);
OLD("sockets/udp", "[method]udp-socket.stream") void old_stream(handle, uint32_t is_some, FLAT_ADDRESS, old_result *);
OLD("sockets/udp", "[method]incoming-datagram-stream.receive") void old_receive(handle, uint64_t most, old_result *);
OLD("sockets/udp", "[method]incoming-datagram-stream.subscribe") handle old_subscribe(handle);
OLD("sockets/udp", "[method]outgoing-datagram-stream.check-send") void old_check_send(handle, old_u64 *);
OLD("sockets/udp", "[method]outgoing-datagram-stream.send")
void old_send(handle, const old_outgoing *, uint32_t count, old_u64 *);
OLD("io/poll", "[method]pollable.block") void old_block(handle);
OLD("io/poll", "[resource-drop]pollable") void old_drop_pollable(handle);
OLD("sockets/udp", "[resource-drop]udp-socket") void old_drop(handle);
OLD("sockets/udp", "[resource-drop]incoming-datagram-stream") void old_drop_incoming(handle);
OLD("sockets/udp", "[resource-drop]outgoing-datagram-stream") void old_drop_outgoing(handle);

/* The discriminant of a result is one byte, and the rest of its word is padding. */
static bool is_ok(const void *result) { return *(const uint8_t *)result == 0; }

static handle server, incoming, outgoing, client;

static void open_server(void) {
  old_result result;
  old_create(IPV4, &result);
  CHECK(is_ok(&result));
  server = result.words[0];
  socket_address any = loopback(IPV4, 0);
  flat_address local = flatten(&any), none = {{0}};
  handle network = old_network();
  old_start_bind(server, network, FLATTENED(local), &result);
  old_drop_network(network);
  CHECK(is_ok(&result));
  old_finish_bind(server, &result);
  CHECK(is_ok(&result));
  old_stream(server, false, FLATTENED(none), &result);
  CHECK(is_ok(&result));
  incoming = result.words[0];
  outgoing = result.words[1];
}

/* Waits for one datagram at the server, and sends it back. */
static void answer(void) {
  handle pollable = old_subscribe(incoming);
  old_block(pollable);
  old_drop_pollable(pollable);
  old_result received;
  old_receive(incoming, 1, &received);
  CHECK(is_ok(&received) && received.words[1] == 1);
  old_incoming *datagram = (old_incoming *)received.words[0];
  old_u64 result;
  old_check_send(outgoing, &result);
  CHECK(is_ok(&result) && result.value > 0);
  old_outgoing back = {
      .data = datagram->data, .length = datagram->length, .has_remote = true, .remote = datagram->remote};
  old_send(outgoing, &back, 1, &result);
  CHECK(is_ok(&result) && result.value == 1);
  free(datagram->data);
  free(datagram);
}

EXPORT("[async-lift]exchange") uint32_t start_exchange(uint32_t count) {
  uint32_t *numbers = malloc(count * sizeof *numbers);
  CHECK(numbers != NULL || count == 0);
  open_server();
  result_address local;
  old_local_address(server, &local);
  CHECK(!local.is_error);
  client = udp_open_connected(IPV4, local.address.v4.port);
  for (uint32_t number = 0; number < count; number++) {
    result_empty sent;
    result_received received;
    flat_address none = {{0}};
    udp_send_blocking(client, (const uint8_t *)&number, sizeof number, false, FLATTENED(none), &sent);
    CHECK(!sent.is_error);
    answer();
    udp_receive_blocking(client, &received);
    CHECK(!received.is_error);
    numbers[number] = number_of(received.data, received.length);
    free(received.data);
  }
  udp_drop(client);
  old_drop_incoming(incoming);
  old_drop_outgoing(outgoing);
  old_drop(server);
  return_exchange(numbers, count);
  free(numbers);
  return EXIT;
}
EXPORT("[callback][async-lift]exchange") uint32_t proceed_exchange(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)event, (void)subtask, (void)state;
  __builtin_trap();
}
