/* Cancels sends and receives that wait. */
#include "async.h"

IMPORT("[export]$root", "[task-return]cancel-receives") void return_receives(const uint32_t *, uint32_t);
IMPORT("[export]$root", "[task-return]cancel-sends") void return_sends(const uint32_t *, uint32_t);

#define MAX_CALLS 1024
enum { CANCELLED = 16, FAILED = 32 };

static result_received received[MAX_CALLS];
static struct {
  send_params params;
  result_empty result;
  uint8_t data[2048];
} sends[MAX_CALLS];
static handle subtasks[MAX_CALLS];
static uint32_t states[MAX_CALLS + 1];

/* Cancels the subtask; the state in which it ended. */
static uint32_t cancel(handle subtask) {
  uint32_t state = subtask_cancel(subtask);
  subtask_drop(subtask);
  return state;
}

EXPORT("[async-lift]cancel-receives") uint32_t cancel_receives(uint32_t count) {
  CHECK(count <= MAX_CALLS);
  handle socket = udp_open_bound(IPV4);
  for (uint32_t i = 0; i < count; i++) {
    uint32_t status = udp_receive(socket, &received[i]);
    CHECK(STATE_OF(status) == STARTING || STATE_OF(status) == STARTED);
    subtasks[i] = SUBTASK_OF(status);
  }
  for (uint32_t i = 0; i < count; i++) states[i] = cancel(subtasks[i]);
  result_empty result;
  socket_address self = loopback(IPV4, udp_port(socket));
  flat_address remote = flatten(&self);
  udp_send_blocking(socket, (const uint8_t *)&count, sizeof count, true, FLATTENED(remote), &result);
  CHECK(!result.is_error);
  result_received last;
  udp_receive_blocking(socket, &last);
  CHECK(!last.is_error);
  states[count] = number_of(last.data, last.length);
  free(last.data);
  udp_drop(socket);
  return_receives(states, count + 1);
  return EXIT;
}
EXPORT("[callback][async-lift]cancel-receives")
uint32_t proceed_receives(uint32_t event, uint32_t task, uint32_t state) {
  (void)event, (void)task, (void)state;
  __builtin_trap();
}

EXPORT("[async-lift]cancel-sends") uint32_t cancel_sends(uint32_t port, uint32_t count, uint32_t size) {
  CHECK(count <= MAX_CALLS && size >= sizeof(uint32_t) && size <= sizeof sends->data);
  handle socket = udp_open_connected(IPV4, port);
  result_empty result;
  udp_set_send_buffer(socket, 8192, &result);
  CHECK(!result.is_error);
  for (uint32_t i = 0; i < count; i++) {
    memcpy(sends[i].data, &i, sizeof i);
    sends[i].params = (send_params){.self = socket, .data = sends[i].data, .length = size};
    uint32_t status = udp_send(&sends[i].params, &sends[i].result);
    states[i] = STATE_OF(status);
    subtasks[i] = SUBTASK_OF(status);
  }
  for (uint32_t i = 0; i < count; i++) {
    if (states[i] != RETURNED) states[i] = cancel(subtasks[i]) + CANCELLED;
    if (states[i] % CANCELLED == RETURNED && sends[i].result.is_error) states[i] += FAILED;
  }
  udp_drop(socket);
  return_sends(states, count);
  return EXIT;
}
EXPORT("[callback][async-lift]cancel-sends") uint32_t proceed_sends(uint32_t event, uint32_t task, uint32_t state) {
  (void)event, (void)task, (void)state;
  __builtin_trap();
}
