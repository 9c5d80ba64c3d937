/* Receives numbered datagrams with many receives in flight, tells what came, and sends it back where it is told to. */
#include "async.h"

/* record received, 24 bytes: more than a core value, so that it is returned by its parts. */
IMPORT("[export]$root", "[task-return]receive")
void return_receive(const uint32_t *, uint32_t, uint64_t bytes, uint32_t failed);

#define MAX_IN_FLIGHT 1024

/* A receive in flight, or the send that answers it. */
static struct flight {
  result_received received;
  send_params answer;
  result_empty answered;
  handle subtask;
  uint32_t number;
  bool is_answer;
} flights[MAX_IN_FLIGHT];
static struct flight *idle[MAX_IN_FLIGHT];
static uint32_t idle_count;

static handle socket, set;
static uint32_t next, count, in_flight, failed;
static uint64_t bytes;
static uint32_t *numbers;
static bool echoes;

EXPORT("open") uint32_t open_socket(uint32_t ipv6) {
  socket = udp_open_bound(ipv6);
  return udp_port(socket);
}

EXPORT("close") void close_socket(void) { udp_drop(socket); }

/* Whether the call has ended; where not, its subtask is waited for. */
static bool has_ended(struct flight *flight, uint32_t status) {
  if (STATE_OF(status) == RETURNED) return true;
  flight->subtask = SUBTASK_OF(status);
  waitable_join(flight->subtask, set);
  return false;
}

static void rest(struct flight *flight) {
  if (!flight->received.is_error) free(flight->received.data);
  idle[idle_count++] = flight;
}

/* Takes the end of a flight's call: a datagram that came is answered, where it is to be, before the flight rests. */
static void end(struct flight *flight) {
  if (flight->is_answer) {
    failed += flight->answered.is_error;
    return rest(flight);
  }
  const result_received *received = &flight->received;
  failed += received->is_error;
  numbers[flight->number] = received->is_error ? UINT32_MAX : number_of(received->data, received->length);
  if (received->is_error || !echoes) {
    bytes += received->is_error ? 0 : received->length;
    return rest(flight);
  }
  bytes += received->length;
  flight->is_answer = true;
  flight->answer = (send_params){
      .self = socket,
      .data = received->data,
      .length = received->length,
      .has_address = true,
      .address = received->source,
  };
  if (has_ended(flight, udp_send(&flight->answer, &flight->answered))) end(flight);
}

/* Starts what there is room for; what the export answers. */
static uint32_t proceed(void) {
  while (next < count && idle_count > 0) {
    struct flight *flight = idle[--idle_count];
    flight->number = next++;
    flight->is_answer = false;
    if (has_ended(flight, udp_receive(socket, &flight->received))) end(flight);
  }
  if (idle_count < in_flight) return WAIT_ON(set);
  waitable_set_drop(set);
  return_receive(numbers, count, bytes, failed);
  free(numbers);
  return EXIT;
}

EXPORT("[async-lift]receive") uint32_t start(uint32_t total, uint32_t window, uint32_t echo) {
  CHECK(window <= MAX_IN_FLIGHT);
  set = waitable_set_new();
  numbers = malloc(total * sizeof *numbers);
  CHECK(numbers != NULL || total == 0);
  count = total;
  in_flight = window;
  echoes = echo;
  next = failed = idle_count = 0;
  bytes = 0;
  for (struct flight *flight = flights + window; flight-- > flights;) idle[idle_count++] = flight;
  return proceed();
}

EXPORT("[callback][async-lift]receive") uint32_t proceed_receive(uint32_t event, uint32_t subtask, uint32_t state) {
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
