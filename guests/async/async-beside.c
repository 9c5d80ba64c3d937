/* Waits in one set for a datagram, for a clock, and for a call of the host's. */
#include "async.h"

IMPORT("[export]$root", "[task-return]beside") void return_order(uint32_t);
IMPORT("$root", "[async-lower]pause") uint32_t pause_for(uint32_t milliseconds);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") uint32_t wait_for(uint64_t nanoseconds);

enum { DATAGRAM = 1, CLOCK, HOST, ALL = 3 };

static handle socket, set, subtasks[ALL + 1];
static result_received received;
static uint32_t order, ended;

EXPORT("open") uint32_t open_socket(void) {
  socket = udp_open_bound(IPV4);
  return udp_port(socket);
}

static void end(uint32_t which) {
  order = order * 10 + which;
  ended++;
}

static void begin(uint32_t which, uint32_t status) {
  if (STATE_OF(status) == RETURNED) {
    end(which);
    return;
  }
  subtasks[which] = SUBTASK_OF(status);
  waitable_join(subtasks[which], set);
}

static uint32_t proceed(void) {
  if (ended < ALL) return WAIT_ON(set);
  CHECK(!received.is_error);
  free(received.data);
  waitable_set_drop(set);
  return_order(order);
  return EXIT;
}

EXPORT("[async-lift]beside") uint32_t start_beside(uint32_t clock, uint32_t host) {
  set = waitable_set_new();
  order = ended = 0;
  begin(DATAGRAM, udp_receive(socket, &received));
  begin(CLOCK, wait_for((uint64_t)clock * 1000000));
  begin(HOST, pause_for(host));
  return proceed();
}
EXPORT("[callback][async-lift]beside") uint32_t proceed_beside(uint32_t event, uint32_t subtask, uint32_t state) {
  CHECK(event == EVENT_SUBTASK);
  if (state == RETURNED) {
    subtask_drop(subtask);
    for (uint32_t which = DATAGRAM; which <= HOST; which++)
      if (subtasks[which] == subtask) end(which);
  }
  return proceed();
}
