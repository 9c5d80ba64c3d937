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
static handle socket, set;
/* The state of each call, and what follows them. */
static uint32_t answer[2 * MAX_CALLS + 1];
static uint32_t answers, calls;

/* Cancels the subtask; the state in which it ended. */
static uint32_t cancel(handle subtask) {
  uint32_t state = subtask_cancel(subtask);
  subtask_drop(subtask);
  return state;
}

static void send_to_self(uint32_t number) {
  socket_address self = loopback(IPV4, udp_port(socket));
  flat_address remote = flatten(&self);
  result_empty result;
  udp_send_blocking(socket, (const uint8_t *)&number, sizeof number, true, FLATTENED(remote), &result);
  CHECK(!result.is_error);
}

static void take(const result_received *datagram) {
  CHECK(!datagram->is_error);
  answer[answers++] = number_of(datagram->data, datagram->length);
  free(datagram->data);
}

EXPORT("[async-lift]cancel-receives") uint32_t cancel_receives(uint32_t count, uint32_t sent) {
  CHECK(count <= MAX_CALLS && sent <= MAX_CALLS);
  socket = udp_open_bound(IPV4);
  answers = count;
  for (uint32_t i = 0; i < count; i++) {
    uint32_t status = udp_receive(socket, &received[i]);
    CHECK(STATE_OF(status) == STARTING || STATE_OF(status) == STARTED);
    subtasks[i] = SUBTASK_OF(status);
  }
  for (uint32_t number = 0; number < sent; number++) send_to_self(number);
  for (uint32_t i = 0; i < count; i++) {
    answer[i] = cancel(subtasks[i]);
    if (answer[i] == RETURNED) take(&received[i]);
  }
  send_to_self(sent);
  while (answers < count + sent + 1) {
    result_received datagram;
    udp_receive_blocking(socket, &datagram);
    take(&datagram);
  }
  udp_drop(socket);
  return_receives(answer, answers);
  return EXIT;
}
EXPORT("[callback][async-lift]cancel-receives")
uint32_t proceed_receives(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)event, (void)subtask, (void)state;
  __builtin_trap();
}

/* Takes the end of a send's subtask. */
static void end(handle subtask, uint32_t state) {
  if (state != RETURNED) return;
  subtask_drop(subtask);
  for (uint32_t i = 0; i < calls; i++)
    if (subtasks[i] == subtask && answer[i] != RETURNED) answer[i] = RETURNED;
}

static uint32_t cancel_rest(void) {
  event_payload event;
  while (waitable_set_poll(set, &event) == EVENT_SUBTASK) end(event.waitable, event.state);
  for (uint32_t i = 0; i < calls; i++) {
    if (answer[i] != RETURNED) {
      waitable_join(subtasks[i], 0);
      answer[i] = cancel(subtasks[i]) + CANCELLED;
    }
    if (answer[i] % CANCELLED == RETURNED && sends[i].result.is_error) answer[i] += FAILED;
  }
  waitable_set_drop(set);
  udp_drop(socket);
  return_sends(answer, calls);
  return EXIT;
}

EXPORT("[async-lift]cancel-sends")
uint32_t cancel_sends(uint32_t port, uint32_t count, uint32_t size, uint32_t at_once) {
  CHECK(count <= MAX_CALLS && size >= sizeof(uint32_t) && size <= sizeof sends->data);
  socket = udp_open_connected(IPV4, port);
  set = waitable_set_new();
  calls = count;
  result_empty result;
  udp_set_send_buffer(socket, 8192, &result);
  CHECK(!result.is_error);
  for (uint32_t i = 0; i < count; i++) {
    memcpy(sends[i].data, &i, sizeof i);
    sends[i].params = (send_params){.self = socket, .data = sends[i].data, .length = size};
    uint32_t status = udp_send(&sends[i].params, &sends[i].result);
    answer[i] = STATE_OF(status);
    subtasks[i] = SUBTASK_OF(status);
    if (answer[i] != RETURNED) waitable_join(subtasks[i], set);
  }
  return at_once ? cancel_rest() : WAIT_ON(set);
}
EXPORT("[callback][async-lift]cancel-sends") uint32_t proceed_sends(uint32_t event, uint32_t subtask, uint32_t state) {
  CHECK(event == EVENT_SUBTASK);
  end(subtask, state);
  return state == RETURNED ? cancel_rest() : WAIT_ON(set);
}
