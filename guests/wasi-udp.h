/*
 * The core imports of wasi:sockets/udp@0.2.12 and its neighbours, as a C compiler sees them (Component Model, CanonicalABI:
 * parameters are flattened, a result that has more than one core value is written to memory). The layouts below are the
 * canonical ABI's; scripts/guests.mjs makes components of the compiled modules, and that checks every signature against the WIT.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t handle;

/* enum error-code of wasi:sockets/network, in its order; OK is ours, for "no error". */
typedef enum {
  OK = -1,
  UNKNOWN,
  ACCESS_DENIED,
  NOT_SUPPORTED,
  INVALID_ARGUMENT,
  OUT_OF_MEMORY,
  TIMEOUT,
  CONCURRENCY_CONFLICT,
  NOT_IN_PROGRESS,
  WOULD_BLOCK,
  INVALID_STATE,
  NEW_SOCKET_LIMIT,
  ADDRESS_NOT_BINDABLE,
  ADDRESS_IN_USE,
  REMOTE_UNREACHABLE,
  CONNECTION_REFUSED,
  CONNECTION_RESET,
  CONNECTION_ABORTED,
  DATAGRAM_TOO_LARGE,
  NAME_UNRESOLVABLE,
  TEMPORARY_RESOLVER_FAILURE,
  PERMANENT_RESOLVER_FAILURE,
} error_code;

enum { IPV4, IPV6 };

/* variant ip-socket-address, 32 bytes. */
typedef struct {
  uint8_t family;
  union {
    struct {
      uint16_t port;
      uint8_t address[4];
    } v4;
    struct {
      uint16_t port;
      uint32_t flow_info;
      uint16_t address[8];
      uint32_t scope_id;
    } v6;
  };
} socket_address;
_Static_assert(sizeof(socket_address) == 32, "ip-socket-address");

/* record incoming-datagram, 40 bytes; `data` is the guest's to free. */
typedef struct {
  uint8_t *data;
  size_t length;
  socket_address remote;
} incoming_datagram;
_Static_assert(sizeof(incoming_datagram) == 40, "incoming-datagram");

/* record outgoing-datagram, 44 bytes. */
typedef struct {
  const uint8_t *data;
  size_t length;
  uint8_t has_remote;
  socket_address remote;
} outgoing_datagram;
_Static_assert(sizeof(outgoing_datagram) == 44, "outgoing-datagram");

/* result<_, error-code>, result<u8, error-code> */
typedef struct {
  uint8_t is_error;
  uint8_t value;
} result_byte;
/* result<u64, error-code>; an error is the first byte of `value`. */
typedef struct {
  uint8_t is_error;
  uint64_t value;
} result_u64;
/* result<ip-socket-address, error-code> */
typedef struct {
  uint8_t is_error;
  union {
    uint8_t error;
    socket_address value;
  };
} result_address;
/* result<own, error-code>, and result<tuple<own, own>, error-code> or result<list, error-code> with both words. */
typedef struct {
  uint8_t is_error;
  union {
    uint8_t error;
    uint32_t words[2];
  };
} result_words;

/* A flattened ip-socket-address: the discriminant, then the cases' fields joined. */
#define FLAT_ADDRESS int, int, int, int, int, int, int, int, int, int, int, int
#define FLATTEN(a)                                                                                                     \
  (a)->family, (a)->v4.port, (a)->family == IPV4 ? (a)->v4.address[0] : (int)(a)->v6.flow_info,                        \
      (a)->family == IPV4 ? (a)->v4.address[1] : (a)->v6.address[0],                                                   \
      (a)->family == IPV4 ? (a)->v4.address[2] : (a)->v6.address[1],                                                   \
      (a)->family == IPV4 ? (a)->v4.address[3] : (a)->v6.address[2], (a)->family == IPV4 ? 0 : (a)->v6.address[3],     \
      (a)->family == IPV4 ? 0 : (a)->v6.address[4], (a)->family == IPV4 ? 0 : (a)->v6.address[5],                      \
      (a)->family == IPV4 ? 0 : (a)->v6.address[6], (a)->family == IPV4 ? 0 : (a)->v6.address[7],                      \
      (a)->family == IPV4 ? 0 : (int)(a)->v6.scope_id

#define IMPORT(module, name) __attribute__((import_module(module "@0.2.12"), import_name(name))) extern
#define UDP "wasi:sockets/udp"

IMPORT("wasi:sockets/instance-network", "instance-network") handle instance_network(void);
IMPORT("wasi:sockets/network", "[resource-drop]network") void network_drop(handle);
IMPORT("wasi:sockets/udp-create-socket", "create-udp-socket") void create_udp_socket(int family, result_words *);

IMPORT(UDP, "[method]udp-socket.start-bind") void udp_start_bind(handle, handle network, FLAT_ADDRESS, result_byte *);
IMPORT(UDP, "[method]udp-socket.finish-bind") void udp_finish_bind(handle, result_byte *);
IMPORT(UDP, "[method]udp-socket.stream") void udp_stream(handle, int is_some, FLAT_ADDRESS, result_words *);
IMPORT(UDP, "[method]udp-socket.local-address") void udp_local_address(handle, result_address *);
IMPORT(UDP, "[method]udp-socket.remote-address") void udp_remote_address(handle, result_address *);
IMPORT(UDP, "[method]udp-socket.address-family") int udp_address_family(handle);
IMPORT(UDP, "[method]udp-socket.unicast-hop-limit") void udp_unicast_hop_limit(handle, result_byte *);
IMPORT(UDP, "[method]udp-socket.set-unicast-hop-limit") void udp_set_unicast_hop_limit(handle, int, result_byte *);
IMPORT(UDP, "[method]udp-socket.receive-buffer-size") void udp_receive_buffer_size(handle, result_u64 *);
IMPORT(UDP, "[method]udp-socket.set-receive-buffer-size") void udp_set_receive_buffer_size(handle, uint64_t, result_byte *);
IMPORT(UDP, "[method]udp-socket.send-buffer-size") void udp_send_buffer_size(handle, result_u64 *);
IMPORT(UDP, "[method]udp-socket.set-send-buffer-size") void udp_set_send_buffer_size(handle, uint64_t, result_byte *);
IMPORT(UDP, "[method]udp-socket.subscribe") handle udp_subscribe(handle);
IMPORT(UDP, "[resource-drop]udp-socket") void udp_drop(handle);

IMPORT(UDP, "[method]incoming-datagram-stream.receive") void incoming_receive(handle, uint64_t max, result_words *);
IMPORT(UDP, "[method]incoming-datagram-stream.subscribe") handle incoming_subscribe(handle);
IMPORT(UDP, "[resource-drop]incoming-datagram-stream") void incoming_drop(handle);

IMPORT(UDP, "[method]outgoing-datagram-stream.check-send") void outgoing_check_send(handle, result_u64 *);
IMPORT(UDP, "[method]outgoing-datagram-stream.send")
void outgoing_send(handle, const outgoing_datagram *, size_t count, result_u64 *);
IMPORT(UDP, "[method]outgoing-datagram-stream.subscribe") handle outgoing_subscribe(handle);
IMPORT(UDP, "[resource-drop]outgoing-datagram-stream") void outgoing_drop(handle);

IMPORT("wasi:io/poll", "poll") void poll_poll(const handle *, size_t count, uint32_t list[2]);
IMPORT("wasi:io/poll", "[method]pollable.ready") int pollable_ready(handle);
IMPORT("wasi:io/poll", "[method]pollable.block") void pollable_block(handle);
IMPORT("wasi:io/poll", "[resource-drop]pollable") void pollable_drop(handle);

IMPORT("wasi:clocks/monotonic-clock", "now") uint64_t clock_now(void);
IMPORT("wasi:clocks/monotonic-clock", "subscribe-duration") handle clock_subscribe_duration(uint64_t nanoseconds);
