/* What the guests share: the calls with an error_code for a result, addresses, and checks that end the program. */
#pragma once
#include "wasi-udp.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The program's start, in place of wasi-libc's: that one has the linker run constructors and destructors around every
 * exported function, cabi_realloc too, and destructors end the output streams.
 */
void __wasm_call_ctors(void);
void __wasm_call_dtors(void);
int __main_void(void);
__attribute__((export_name("_start"))) void _start(void) {
  __wasm_call_ctors();
  int code = __main_void();
  __wasm_call_dtors();
  if (code != 0) exit(code);
}

/* wasi:sockets fills lists through this; wasi-libc's realloc and free do the rest. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old_size;
  (void)align;
  void *new = realloc(old, size);
  if (new == NULL && size > 0) abort();
  return new;
}

static const char *const ERROR_NAMES[] = {
    "ok",
    "unknown",
    "access-denied",
    "not-supported",
    "invalid-argument",
    "out-of-memory",
    "timeout",
    "concurrency-conflict",
    "not-in-progress",
    "would-block",
    "invalid-state",
    "new-socket-limit",
    "address-not-bindable",
    "address-in-use",
    "remote-unreachable",
    "connection-refused",
    "connection-reset",
    "connection-aborted",
    "datagram-too-large",
    "name-unresolvable",
    "temporary-resolver-failure",
    "permanent-resolver-failure",
};
static inline const char *error_name(error_code error) { return ERROR_NAMES[error + 1]; }

#define FAIL(...) (printf("%s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), printf("\n"), fflush(stdout), exit(1))
#define CHECK(condition) ((condition) ? (void)0 : FAIL("failed: %s", #condition))
/* Checks that a call gives that error_code. */
#define EXPECT(expected, call)                                                                                         \
  do {                                                                                                                 \
    error_code got_ = (call);                                                                                          \
    if (got_ != (expected)) FAIL("%s gave %s, expected %s", #call, error_name(got_), error_name(expected));            \
  } while (0)

static inline error_code code_of(result_byte result) { return result.is_error ? (error_code)result.value : OK; }

/* Addresses. */

static inline socket_address ipv4(int a, int b, int c, int d, int port) {
  return (socket_address){.family = IPV4, .v4 = {.port = port, .address = {a, b, c, d}}};
}
static inline socket_address ipv6(int first, int second, int sixth, int seventh, int last, int port) {
  return (socket_address){.family = IPV6, .v6 = {.port = port, .address = {first, second, 0, 0, 0, sixth, seventh, last}}};
}
static inline socket_address loopback(int family, int port) {
  return family == IPV4 ? ipv4(127, 0, 0, 1, port) : ipv6(0, 0, 0, 0, 1, port);
}
static inline socket_address unspecified(int family, int port) {
  return family == IPV4 ? ipv4(0, 0, 0, 0, port) : ipv6(0, 0, 0, 0, 0, port);
}
static inline int port_of(const socket_address *address) { return address->v4.port; }
static inline bool same_address(const socket_address *a, const socket_address *b) {
  if (a->family != b->family || a->v4.port != b->v4.port) return false;
  if (a->family == IPV4) return memcmp(a->v4.address, b->v4.address, sizeof a->v4.address) == 0;
  return memcmp(a->v6.address, b->v6.address, sizeof a->v6.address) == 0 && a->v6.flow_info == b->v6.flow_info &&
         a->v6.scope_id == b->v6.scope_id;
}

/* udp-socket. */

static inline error_code udp_open(int family, handle *socket) {
  result_words result;
  create_udp_socket(family, &result);
  if (result.is_error) return result.error;
  *socket = result.words[0];
  return OK;
}
static inline error_code start_bind(handle socket, socket_address local) {
  handle network = instance_network();
  result_byte result;
  udp_start_bind(socket, network, FLATTEN(&local), &result);
  network_drop(network);
  return code_of(result);
}
static inline error_code finish_bind(handle socket) {
  result_byte result;
  udp_finish_bind(socket, &result);
  return code_of(result);
}
/* start-bind, and finish-bind until it no longer would block. */
static inline error_code bind_to(handle socket, socket_address local) {
  error_code error = start_bind(socket, local);
  if (error != OK) return error;
  handle pollable = udp_subscribe(socket);
  while ((error = finish_bind(socket)) == WOULD_BLOCK) pollable_block(pollable);
  pollable_drop(pollable);
  return error;
}
static inline error_code local_address(handle socket, socket_address *address) {
  result_address result;
  udp_local_address(socket, &result);
  if (result.is_error) return result.error;
  *address = result.value;
  return OK;
}
static inline error_code remote_address(handle socket, socket_address *address) {
  result_address result;
  udp_remote_address(socket, &result);
  if (result.is_error) return result.error;
  *address = result.value;
  return OK;
}
static inline error_code stream_to(handle socket, const socket_address *remote, handle *incoming, handle *outgoing) {
  static const socket_address none;
  const socket_address *address = remote == NULL ? &none : remote;
  result_words result;
  udp_stream(socket, remote != NULL, FLATTEN(address), &result);
  if (result.is_error) return result.error;
  *incoming = result.words[0];
  *outgoing = result.words[1];
  return OK;
}
/* A stream whose halves are dropped at once, for its effect on the socket. */
static inline error_code stream_briefly(handle socket, const socket_address *remote) {
  handle incoming, outgoing;
  error_code error = stream_to(socket, remote, &incoming, &outgoing);
  if (error != OK) return error;
  incoming_drop(incoming);
  outgoing_drop(outgoing);
  return OK;
}
static inline error_code hop_limit(handle socket, int *value) {
  result_byte result;
  udp_unicast_hop_limit(socket, &result);
  *value = result.value;
  return code_of(result);
}
static inline error_code set_hop_limit(handle socket, int value) {
  result_byte result;
  udp_set_unicast_hop_limit(socket, value, &result);
  return code_of(result);
}
static inline error_code size_of(result_u64 result, uint64_t *value) {
  *value = result.value;
  return result.is_error ? (error_code)(uint8_t)result.value : OK;
}
static inline error_code receive_buffer_size(handle socket, uint64_t *value) {
  result_u64 result;
  udp_receive_buffer_size(socket, &result);
  return size_of(result, value);
}
static inline error_code send_buffer_size(handle socket, uint64_t *value) {
  result_u64 result;
  udp_send_buffer_size(socket, &result);
  return size_of(result, value);
}
static inline error_code set_receive_buffer_size(handle socket, uint64_t value) {
  result_byte result;
  udp_set_receive_buffer_size(socket, value, &result);
  return code_of(result);
}
static inline error_code set_send_buffer_size(handle socket, uint64_t value) {
  result_byte result;
  udp_set_send_buffer_size(socket, value, &result);
  return code_of(result);
}

/* The streams. */

static inline error_code check_send(handle outgoing, uint64_t *permit) {
  result_u64 result;
  outgoing_check_send(outgoing, &result);
  return size_of(result, permit);
}
static inline error_code send_list(handle outgoing, const outgoing_datagram *list, size_t count, uint64_t *sent) {
  result_u64 result;
  outgoing_send(outgoing, list, count, &result);
  return size_of(result, sent);
}
static inline error_code receive_list(handle incoming, uint64_t max, incoming_datagram **list, size_t *count) {
  result_words result;
  incoming_receive(incoming, max, &result);
  if (result.is_error) return result.error;
  *list = (incoming_datagram *)result.words[0];
  *count = result.words[1];
  return OK;
}
static inline void free_list(incoming_datagram *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (list[i].length > 0) free(list[i].data);
  if (count > 0) free(list);
}
static inline outgoing_datagram datagram(const void *data, size_t length, const socket_address *remote) {
  outgoing_datagram made = {.data = data, .length = length, .has_remote = remote != NULL};
  if (remote != NULL) made.remote = *remote;
  return made;
}

/* Sends the whole list, permit by permit. */
static inline error_code send_all(handle outgoing, const outgoing_datagram *list, size_t count) {
  while (count > 0) {
    uint64_t permit, sent;
    error_code error = check_send(outgoing, &permit);
    if (error != OK) return error;
    if (permit == 0) {
      handle writable = outgoing_subscribe(outgoing);
      pollable_block(writable);
      pollable_drop(writable);
      continue;
    }
    error = send_list(outgoing, list, permit < count ? permit : count, &sent);
    if (error != OK) return error;
    list += sent;
    count -= sent;
  }
  return OK;
}

/* Waits for `pollable` or so many milliseconds; whether it became ready. */
static inline bool ready_within(handle pollable, uint64_t milliseconds) {
  handle timeout = clock_subscribe_duration(milliseconds * 1000000);
  handle both[] = {pollable, timeout};
  uint32_t ready[2];
  poll_poll(both, 2, ready);
  CHECK(ready[1] > 0);
  bool is_ready = ((uint32_t *)ready[0])[0] == 0;
  free((void *)ready[0]);
  pollable_drop(timeout);
  return is_ready;
}

/* The next datagrams, at most `max`, within ten seconds. */
static inline error_code receive_some(handle incoming, uint64_t max, incoming_datagram **list, size_t *count) {
  handle readable = incoming_subscribe(incoming);
  error_code error;
  for (;;) {
    error = receive_list(incoming, max, list, count);
    if (error != OK || *count > 0) break;
    if (!ready_within(readable, 10000)) FAIL("no datagram came within ten seconds");
  }
  pollable_drop(readable);
  return error;
}
