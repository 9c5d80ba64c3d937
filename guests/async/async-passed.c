/* Sockets that come and go by the exports. */
#include "async.h"

IMPORT("[export]$root", "[task-return]send") void return_send(void);

static handle socket;
static uint32_t datagram;
static send_params params;
static result_empty sent;

EXPORT("open") uint32_t open_socket(void) {
  socket = udp_open_bound(IPV4);
  return udp_port(socket);
}

EXPORT("give") handle give(void) { return socket; }

EXPORT("take") void take(handle given) { socket = given; }

static uint32_t end_send(void) {
  CHECK(!sent.is_error);
  return_send();
  return EXIT;
}

EXPORT("[async-lift]send") uint32_t start_send(uint32_t port, uint32_t number) {
  datagram = number;
  params = (send_params){
      .self = socket,
      .data = (const uint8_t *)&datagram,
      .length = sizeof datagram,
      .has_address = true,
      .address = loopback(IPV4, port),
  };
  uint32_t status = udp_send(&params, &sent);
  if (STATE_OF(status) == RETURNED) return end_send();
  handle set = waitable_set_new();
  waitable_join(SUBTASK_OF(status), set);
  return WAIT_ON(set);
}
EXPORT("[callback][async-lift]send") uint32_t proceed_send(uint32_t event, uint32_t subtask, uint32_t state) {
  CHECK(event == EVENT_SUBTASK && state == RETURNED);
  subtask_drop(subtask);
  return end_send();
}
