/* Sends as async-sender does, by bindings that wit-bindgen has generated: see generated/README.md. */
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wunused-parameter"
#include "generated/guest.c"
#pragma clang diagnostic pop
#include <stdlib.h>
#include <string.h>

#define MAX_IN_FLIGHT 1024
#define CHECK(condition) ((condition) ? (void)0 : __builtin_trap())

/* wit-bindgen has an object file with the component's type linked in by this; scripts/guests.mjs embeds the type itself. */
void __component_type_object_force_link_guest(void) {}

/* A send in flight. What it points to stays as it is until the send has ended. */
static struct flight {
  wasi_sockets_types_method_udp_socket_send_args_t args;
  wasi_sockets_types_result_void_error_code_t result;
  guest_subtask_t subtask;
  uint32_t number;
  uint8_t data[2048];
} flights[MAX_IN_FLIGHT];
static struct flight *idle[MAX_IN_FLIGHT];
static uint32_t idle_count;

static wasi_sockets_types_own_udp_socket_t socket;
static guest_waitable_set_t set;
static uint32_t next, in_flight;
static guest_list_s32_t sent;

static void end(struct flight *flight) {
  const wasi_sockets_types_result_void_error_code_t *result = &flight->result;
  sent.ptr[flight->number] = result->is_err ? result->val.err.tag : -1;
  idle[idle_count++] = flight;
}

/* Starts what there is room for; what the export answers. */
static guest_callback_code_t proceed(void) {
  while (next < sent.len && idle_count > 0) {
    struct flight *flight = idle[--idle_count];
    flight->number = next++;
    memcpy(flight->data, &flight->number, sizeof flight->number);
    guest_subtask_status_t status = wasi_sockets_types_method_udp_socket_send(&flight->args, &flight->result);
    if (GUEST_SUBTASK_STATE(status) == GUEST_SUBTASK_RETURNED) {
      end(flight);
      continue;
    }
    flight->subtask = GUEST_SUBTASK_HANDLE(status);
    guest_waitable_join(flight->subtask, set);
  }
  if (idle_count < in_flight) return GUEST_CALLBACK_CODE_WAIT(set);
  guest_waitable_set_drop(set);
  wasi_sockets_types_udp_socket_drop_own(socket);
  exports_guest_send_return(sent);
  guest_list_s32_free(&sent);
  return GUEST_CALLBACK_CODE_EXIT;
}

static wasi_sockets_types_ip_socket_address_t loopback(bool ipv6, uint16_t port) {
  wasi_sockets_types_ip_socket_address_t address = {0};
  if (ipv6) {
    address.tag = WASI_SOCKETS_TYPES_IP_SOCKET_ADDRESS_IPV6;
    address.val.ipv6.port = port;
    address.val.ipv6.address.f7 = 1;
  } else {
    address.tag = WASI_SOCKETS_TYPES_IP_SOCKET_ADDRESS_IPV4;
    address.val.ipv4.port = port;
    address.val.ipv4.address = (wasi_sockets_types_ipv4_address_t){127, 0, 0, 1};
  }
  return address;
}

guest_callback_code_t exports_guest_send(bool ipv6, uint16_t port, uint32_t count, uint32_t size, uint32_t window,
                                         bool connected) {
  CHECK(window <= MAX_IN_FLIGHT && size >= sizeof(uint32_t) && size <= sizeof flights->data);
  wasi_sockets_types_ip_socket_address_t remote = loopback(ipv6, port);
  wasi_sockets_types_error_code_t error;
  CHECK(wasi_sockets_types_static_udp_socket_create(ipv6, &socket, &error));
  wasi_sockets_types_borrow_udp_socket_t borrowed = wasi_sockets_types_borrow_udp_socket(socket);
  if (connected) CHECK(wasi_sockets_types_method_udp_socket_connect(borrowed, &remote, &error));
  set = guest_waitable_set_new();
  sent = (guest_list_s32_t){.ptr = malloc(count * sizeof *sent.ptr), .len = count};
  CHECK(sent.ptr != NULL || count == 0);
  next = idle_count = 0;
  in_flight = window;
  for (struct flight *flight = flights + window; flight-- > flights;) {
    flight->args.self = borrowed;
    flight->args.data = (guest_list_u8_t){.ptr = flight->data, .len = size};
    flight->args.remote_address.is_some = !connected;
    flight->args.remote_address.val = remote;
    idle[idle_count++] = flight;
  }
  return proceed();
}

guest_callback_code_t exports_guest_send_callback(guest_event_t *event) {
  CHECK(event->event == GUEST_EVENT_SUBTASK);
  if (event->code != GUEST_SUBTASK_RETURNED) return GUEST_CALLBACK_CODE_WAIT(set);
  for (struct flight *flight = flights;; flight++) {
    CHECK(flight < flights + in_flight);
    if (flight->subtask != event->waitable) continue;
    flight->subtask = 0;
    guest_subtask_drop(event->waitable);
    end(flight);
    return proceed();
  }
}
