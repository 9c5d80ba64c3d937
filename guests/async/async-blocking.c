/* Sends and receives by functions that are lowered synchronously: each blocks the guest until it has ended. */
#include "async.h"

IMPORT("[export]$root", "[task-return]send") void return_send(const int32_t *, uint32_t);
IMPORT("[export]$root", "[task-return]receive") void return_receive(const uint32_t *, uint32_t);

static uint8_t payload[2048];
static handle receiver;

static outcomes send_all(uint32_t ipv6, uint32_t port, uint32_t count, uint32_t size, uint32_t connected) {
  CHECK(size >= sizeof(uint32_t) && size <= sizeof payload);
  handle socket = connected ? udp_open_connected(ipv6, port) : udp_open(ipv6);
  socket_address peer = loopback(ipv6, port);
  flat_address remote = connected ? (flat_address){{0}} : flatten(&peer);
  outcomes sent = outcomes_of(count);
  for (uint32_t number = 0; number < count; number++) {
    memcpy(payload, &number, sizeof number);
    result_empty result;
    udp_send_blocking(socket, payload, size, !connected, FLATTENED(remote), &result);
    sent.list[number] = outcome_of(&result);
  }
  udp_drop(socket);
  return sent;
}

EXPORT("[async-lift]send")
uint32_t start_send(uint32_t ipv6, uint32_t port, uint32_t count, uint32_t size, uint32_t connected) {
  outcomes sent = send_all(ipv6, port, count, size, connected);
  return_send(sent.list, sent.count);
  free(sent.list);
  return EXIT;
}
EXPORT("[callback][async-lift]send") uint32_t proceed_send(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)event, (void)subtask, (void)state;
  __builtin_trap();
}

EXPORT("send-plainly")
outcomes *send_plainly(uint32_t ipv6, uint32_t port, uint32_t count, uint32_t size, uint32_t connected) {
  static outcomes sent;
  sent = send_all(ipv6, port, count, size, connected);
  return &sent;
}
EXPORT("cabi_post_send-plainly") void free_sent(outcomes *sent) { free(sent->list); }

EXPORT("open") uint32_t open_socket(uint32_t ipv6) {
  receiver = udp_open_bound(ipv6);
  return udp_port(receiver);
}

EXPORT("[async-lift]receive") uint32_t start_receive(uint32_t count) {
  uint32_t *numbers = malloc(count * sizeof *numbers);
  CHECK(numbers != NULL || count == 0);
  for (uint32_t i = 0; i < count; i++) {
    result_received result;
    udp_receive_blocking(receiver, &result);
    CHECK(!result.is_error);
    numbers[i] = number_of(result.data, result.length);
    free(result.data);
  }
  udp_drop(receiver);
  return_receive(numbers, count);
  free(numbers);
  return EXIT;
}
EXPORT("[callback][async-lift]receive") uint32_t proceed_receive(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)event, (void)subtask, (void)state;
  __builtin_trap();
}
