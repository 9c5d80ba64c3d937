/* A component of one export, which is called again while it waits. */
#include "async.h"

IMPORT("[export]$root", "[task-return]go") void return_go(uint32_t);
IMPORT("$root", "[context-get-0]") void *task(void);
IMPORT("$root", "[context-set-0]") void set_task(void *);

static handle socket;

struct call {
  handle set;
  uint32_t number;
  result_received received;
  send_params params;
  result_empty sent;
};

static uint32_t end(struct call *call) {
  CHECK(!call->received.is_error && !call->sent.is_error);
  return_go(call->number == 0 ? number_of(call->received.data, call->received.length) : call->number);
  return EXIT;
}

EXPORT("[async-lift]go") uint32_t start(uint32_t number) {
  struct call *call = calloc(1, sizeof *call);
  CHECK(call != NULL);
  call->number = number;
  if (socket == 0) socket = udp_open_bound(IPV4);
  uint32_t status;
  if (number == 0)
    status = udp_receive(socket, &call->received);
  else {
    call->params = (send_params){
        .self = socket,
        .data = (const uint8_t *)&call->number,
        .length = sizeof call->number,
        .has_address = true,
        .address = loopback(IPV4, udp_port(socket)),
    };
    status = udp_send(&call->params, &call->sent);
  }
  if (STATE_OF(status) == RETURNED) return end(call);
  call->set = waitable_set_new();
  waitable_join(SUBTASK_OF(status), call->set);
  set_task(call);
  return WAIT_ON(call->set);
}
EXPORT("[callback][async-lift]go") uint32_t proceed(uint32_t event, uint32_t subtask, uint32_t state) {
  struct call *call = task();
  CHECK(event == EVENT_SUBTASK);
  if (state != RETURNED) return WAIT_ON(call->set);
  subtask_drop(subtask);
  waitable_set_drop(call->set);
  return end(call);
}
