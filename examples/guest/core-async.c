/* Sends datagrams to itself, with many sends and one receive in flight: a guest of WASI 0.3 on the canonical ABI alone. */
#include "../../guests/async/async.h"

IMPORT("[export]$root", "[task-return]echo") void return_count(uint32_t);

#define SENDS 64

static struct {
  send_params params;
  result_empty result;
  uint32_t number;
  handle subtask;
} sends[SENDS];
static handle sender, receiver, set, receiving;
static result_received received;
static uint32_t started, ended, back, count;

/* A send has ended, and makes room for the next one. */
static void sent(uint32_t i) {
  CHECK(!sends[i].result.is_error);
  sends[i].subtask = 0;
  ended++;
}

static void came(void) {
  CHECK(!received.is_error);
  free(received.data);
  back++;
}

/* Starts what may be started; how the task waits, or ends. */
static uint32_t proceed(void) {
  while (back < count && receiving == 0) {
    uint32_t status = udp_receive(receiver, &received);
    if (STATE_OF(status) == RETURNED) {
      came();
      continue;
    }
    receiving = SUBTASK_OF(status);
    waitable_join(receiving, set);
  }
  /* No more than the receiver's buffer holds. */
  for (uint32_t i = 0; i < SENDS && started < count && started < back + SENDS; i++) {
    if (sends[i].subtask != 0) continue;
    sends[i].number = started++;
    uint32_t status = udp_send(&sends[i].params, &sends[i].result);
    if (STATE_OF(status) == RETURNED) {
      sent(i);
      continue;
    }
    sends[i].subtask = SUBTASK_OF(status);
    waitable_join(sends[i].subtask, set);
  }
  if (back < count || ended < count) return WAIT_ON(set);
  waitable_set_drop(set);
  udp_drop(sender);
  udp_drop(receiver);
  return_count(back);
  return EXIT;
}

EXPORT("[async-lift]echo") uint32_t start_echo(uint32_t how_many) {
  count = how_many;
  set = waitable_set_new();
  receiver = udp_open_bound(IPV4);
  sender = udp_open_bound(IPV4);
  for (uint32_t i = 0; i < SENDS; i++)
    sends[i].params = (send_params){
        .self = sender,
        .data = (const uint8_t *)&sends[i].number,
        .length = sizeof sends[i].number,
        .has_address = true,
        .address = loopback(IPV4, udp_port(receiver)),
    };
  return proceed();
}
EXPORT("[callback][async-lift]echo") uint32_t proceed_echo(uint32_t event, uint32_t subtask, uint32_t state) {
  CHECK(event == EVENT_SUBTASK);
  if (state != RETURNED) return WAIT_ON(set);
  subtask_drop(subtask);
  if (subtask == receiving) {
    receiving = 0;
    came();
  } else
    for (uint32_t i = 0; i < SENDS; i++)
      if (sends[i].subtask == subtask) sent(i);
  return proceed();
}
