/* Waits for sends and receives inside a call, or looks after them and yields. */
#include "async.h"

IMPORT("[export]$root", "[task-return]wait") void return_wait(const uint32_t *, uint32_t);
IMPORT("[export]$root", "[task-return]poll") void return_poll(const uint32_t *, uint32_t);

#define MAX_CALLS 256

static handle server, client, set;
static uint32_t count, pending;
static uint32_t numbers[MAX_CALLS];
static handle receives[MAX_CALLS];
static result_received received[MAX_CALLS];
static struct {
  send_params params;
  result_empty result;
  uint32_t number;
} sends[MAX_CALLS];

/* Whether the call waits; it is waited for then. */
static bool waits(uint32_t status, handle *subtask) {
  if (STATE_OF(status) == RETURNED) return false;
  *subtask = SUBTASK_OF(status);
  waitable_join(*subtask, set);
  pending++;
  return true;
}

static void take(uint32_t i) {
  CHECK(!received[i].is_error);
  numbers[i] = number_of(received[i].data, received[i].length);
  free(received[i].data);
}

/* Starts all receives, then all sends. */
static void start(uint32_t total) {
  CHECK(total <= MAX_CALLS);
  count = total;
  pending = 0;
  set = waitable_set_new();
  server = udp_open_bound(IPV4);
  client = udp_open_connected(IPV4, udp_port(server));
  for (uint32_t i = 0; i < count; i++)
    if (!waits(udp_receive(server, &received[i]), &receives[i])) take(i);
  for (uint32_t i = 0; i < count; i++) {
    handle subtask;
    sends[i].number = i;
    sends[i].params =
        (send_params){.self = client, .data = (const uint8_t *)&sends[i].number, .length = sizeof sends[i].number};
    if (!waits(udp_send(&sends[i].params, &sends[i].result), &subtask)) CHECK(!sends[i].result.is_error);
  }
}

static void take_event(const event_payload *event) {
  if (event->state != RETURNED) return;
  for (uint32_t i = 0; i < count; i++) {
    if (receives[i] != event->waitable) continue;
    receives[i] = 0;
    take(i);
    break;
  }
  subtask_drop(event->waitable);
  pending--;
}

static void end(void) {
  for (uint32_t i = 0; i < count; i++) CHECK(!sends[i].result.is_error);
  waitable_set_drop(set);
  udp_drop(server);
  udp_drop(client);
}

EXPORT("[async-lift]wait") uint32_t start_wait(uint32_t total) {
  start(total);
  while (pending > 0) {
    event_payload event;
    CHECK(waitable_set_wait(set, &event) == EVENT_SUBTASK);
    take_event(&event);
  }
  end();
  return_wait(numbers, count);
  return EXIT;
}
EXPORT("[callback][async-lift]wait") uint32_t proceed_wait(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)event, (void)subtask, (void)state;
  __builtin_trap();
}

/* Takes what has ended; what the export answers. */
static uint32_t look(void) {
  event_payload event;
  while (pending > 0 && waitable_set_poll(set, &event) == EVENT_SUBTASK) take_event(&event);
  if (pending > 0) return YIELD;
  end();
  return_poll(numbers, count);
  return EXIT;
}

EXPORT("[async-lift]poll") uint32_t start_poll(uint32_t total) {
  start(total);
  return look();
}
EXPORT("[callback][async-lift]poll") uint32_t proceed_poll(uint32_t event, uint32_t subtask, uint32_t state) {
  (void)subtask, (void)state;
  CHECK(event == EVENT_NONE);
  return look();
}
