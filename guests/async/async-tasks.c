/* Tasks that run at once in one instance: some wait for datagrams that others send. Each keeps its state in its own context. */
#include "async.h"

IMPORT("[export]$root", "[task-return]receive") void return_receive(uint32_t);
IMPORT("[export]$root", "[task-return]send") void return_send(void);
IMPORT("$root", "[context-get-0]") void *task(void);
IMPORT("$root", "[context-set-0]") void set_task(void *);

static handle socket;

struct call {
  handle set, subtask;
  result_received received;
  send_params params;
  result_empty sent;
  uint32_t number;
};

EXPORT("open") uint32_t open_socket(void) {
  socket = udp_open_bound(IPV4);
  return udp_port(socket);
}

static struct call *new_call(void) {
  struct call *call = calloc(1, sizeof *call);
  CHECK(call != NULL);
  return call;
}

/* Has the task wait for the subtask of `status`. */
static uint32_t wait_for(struct call *call, uint32_t status) {
  call->set = waitable_set_new();
  call->subtask = SUBTASK_OF(status);
  waitable_join(call->subtask, call->set);
  set_task(call);
  return WAIT_ON(call->set);
}

/* The call of the task whose subtask has returned, or NULL. */
static struct call *returned(uint32_t event, uint32_t subtask, uint32_t state) {
  struct call *call = task();
  CHECK(event == EVENT_SUBTASK && subtask == call->subtask);
  if (state != RETURNED) return NULL;
  subtask_drop(subtask);
  waitable_set_drop(call->set);
  return call;
}

static uint32_t end_receive(struct call *call) {
  CHECK(!call->received.is_error);
  uint32_t number = number_of(call->received.data, call->received.length);
  free(call->received.data);
  free(call);
  return_receive(number);
  return EXIT;
}

static uint32_t end_send(struct call *call) {
  CHECK(!call->sent.is_error);
  free(call);
  return_send();
  return EXIT;
}

EXPORT("[async-lift]receive") uint32_t start_receive(void) {
  struct call *call = new_call();
  uint32_t status = udp_receive(socket, &call->received);
  return STATE_OF(status) == RETURNED ? end_receive(call) : wait_for(call, status);
}
EXPORT("[callback][async-lift]receive") uint32_t proceed_receive(uint32_t event, uint32_t subtask, uint32_t state) {
  struct call *call = returned(event, subtask, state);
  return call == NULL ? WAIT_ON(((struct call *)task())->set) : end_receive(call);
}

EXPORT("[async-lift]send") uint32_t start_send(uint32_t number) {
  struct call *call = new_call();
  call->number = number;
  call->params = (send_params){
      .self = socket,
      .data = (const uint8_t *)&call->number,
      .length = sizeof call->number,
      .has_address = true,
      .address = loopback(IPV4, udp_port(socket)),
  };
  uint32_t status = udp_send(&call->params, &call->sent);
  return STATE_OF(status) == RETURNED ? end_send(call) : wait_for(call, status);
}
EXPORT("[callback][async-lift]send") uint32_t proceed_send(uint32_t event, uint32_t subtask, uint32_t state) {
  struct call *call = returned(event, subtask, state);
  return call == NULL ? WAIT_ON(((struct call *)task())->set) : end_send(call);
}
