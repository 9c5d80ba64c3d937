/* Sends numbered datagrams with many sends in flight, and tells what became of each. */
#include "async.h"

IMPORT("[export]$root", "[task-return]send") void return_send(const int32_t *, uint32_t);

#define MAX_IN_FLIGHT 1024

/* A send in flight. What it points to stays as it is until the send has ended. */
static struct flight {
  send_params params;
  result_empty result;
  handle subtask;
  uint32_t number;
  uint8_t data[2048];
} flights[MAX_IN_FLIGHT];
static struct flight *idle[MAX_IN_FLIGHT];
static uint32_t idle_count;

static handle socket, set;
static uint32_t next, size, in_flight;
static outcomes sent;

static void end(struct flight *flight) {
  sent.list[flight->number] = outcome_of(&flight->result);
  idle[idle_count++] = flight;
}

/* Starts what there is room for; what the export answers. */
static uint32_t proceed(void) {
  while (next < sent.count && idle_count > 0) {
    struct flight *flight = idle[--idle_count];
    flight->number = next++;
    memcpy(flight->data, &flight->number, sizeof flight->number);
    uint32_t status = udp_send(&flight->params, &flight->result);
    if (STATE_OF(status) == RETURNED) {
      end(flight);
      continue;
    }
    flight->subtask = SUBTASK_OF(status);
    waitable_join(flight->subtask, set);
  }
  if (idle_count < in_flight) return WAIT_ON(set);
  waitable_set_drop(set);
  udp_drop(socket);
  return_send(sent.list, sent.count);
  free(sent.list);
  return EXIT;
}

EXPORT("[async-lift]send")
uint32_t start(uint32_t ipv6, uint32_t port, uint32_t count, uint32_t bytes, uint32_t window, uint32_t connected) {
  CHECK(window <= MAX_IN_FLIGHT && bytes >= sizeof(uint32_t) && bytes <= sizeof flights->data);
  socket = connected ? udp_open_connected(ipv6, port) : udp_open(ipv6);
  set = waitable_set_new();
  sent = outcomes_of(count);
  size = bytes;
  next = 0;
  in_flight = window;
  idle_count = 0;
  for (struct flight *flight = flights + window; flight-- > flights;) {
    flight->params = (send_params){.self = socket, .data = flight->data, .length = size, .has_address = !connected};
    if (!connected) flight->params.address = loopback(ipv6, port);
    idle[idle_count++] = flight;
  }
  return proceed();
}

EXPORT("[callback][async-lift]send") uint32_t proceed_send(uint32_t event, uint32_t subtask, uint32_t state) {
  CHECK(event == EVENT_SUBTASK);
  if (state != RETURNED) return WAIT_ON(set);
  for (struct flight *flight = flights;; flight++) {
    CHECK(flight < flights + in_flight);
    if (flight->subtask != subtask) continue;
    flight->subtask = 0;
    subtask_drop(subtask);
    end(flight);
    return proceed();
  }
}
