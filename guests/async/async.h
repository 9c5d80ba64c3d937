/*
 * The core imports of udp-socket of wasi:sockets/types@0.3.0 and of the Component Model's waitables, as a C compiler sees them
 * (Component Model, CanonicalABI: parameters are flattened, what does not fit is written to memory), and what the guests share.
 * scripts/guests.mjs makes components of the compiled modules, and that checks every signature against the WIT.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t handle;

/* variant error-code of wasi:sockets/types@0.3.0, in its order; OK is ours, for "no error". */
typedef enum {
  OK = -1,
  ACCESS_DENIED,
  NOT_SUPPORTED,
  INVALID_ARGUMENT,
  OUT_OF_MEMORY,
  TIMEOUT,
  INVALID_STATE,
  ADDRESS_NOT_BINDABLE,
  ADDRESS_IN_USE,
  REMOTE_UNREACHABLE,
  CONNECTION_REFUSED,
  CONNECTION_BROKEN,
  CONNECTION_RESET,
  CONNECTION_ABORTED,
  DATAGRAM_TOO_LARGE,
  OTHER,
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


/* result<_, error-code>, 20 bytes. */
typedef struct {
  uint8_t is_error;
  union {
    handle socket;
    struct {
      uint8_t code;
      uint32_t text[3];
    } error;
  };
} result_empty;
_Static_assert(sizeof(result_empty) == 20, "result<_, error-code>");

/* result<tuple<list<u8>, ip-socket-address>, error-code>, 44 bytes; `data` is the guest's to free. */
typedef struct {
  uint8_t is_error;
  union {
    struct {
      uint8_t *data;
      uint32_t length;
      socket_address source;
    };
    struct {
      uint8_t code;
      uint32_t text[3];
    } error;
  };
} result_received;
_Static_assert(sizeof(result_received) == 44, "result<tuple<list<u8>, ip-socket-address>, error-code>");

/* result<ip-socket-address, error-code>, 36 bytes. */
typedef struct {
  uint8_t is_error;
  union {
    socket_address address;
    uint8_t code;
  };
} result_address;
_Static_assert(sizeof(result_address) == 36, "result<ip-socket-address, error-code>");

/* The parameters of an async-lowered send, 48 bytes. */
typedef struct {
  handle self;
  const uint8_t *data;
  uint32_t length;
  uint8_t has_address;
  socket_address address;
} send_params;
_Static_assert(sizeof(send_params) == 48, "the parameters of send");

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define SOCKETS "wasi:sockets/types@0.3.0"

/* ip-socket-address, flattened. */
#define FLAT_ADDRESS                                                                                                   \
  uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t
typedef struct {
  uint32_t values[12];
} flat_address;
#define FLATTENED(a)                                                                                                   \
  (a).values[0], (a).values[1], (a).values[2], (a).values[3], (a).values[4], (a).values[5], (a).values[6],             \
      (a).values[7], (a).values[8], (a).values[9], (a).values[10], (a).values[11]

IMPORT(SOCKETS, "[static]udp-socket.create") void udp_create(uint32_t family, result_empty *);
IMPORT(SOCKETS, "[method]udp-socket.bind") void udp_bind(handle, FLAT_ADDRESS, result_empty *);
IMPORT(SOCKETS, "[method]udp-socket.connect") void udp_connect(handle, FLAT_ADDRESS, result_empty *);
IMPORT(SOCKETS, "[method]udp-socket.get-local-address") void udp_local_address(handle, result_address *);
IMPORT(SOCKETS, "[resource-drop]udp-socket") void udp_drop(handle);
IMPORT(SOCKETS, "[method]udp-socket.set-send-buffer-size") void udp_set_send_buffer(handle, uint64_t, result_empty *);
IMPORT(SOCKETS, "[async-lower][method]udp-socket.send") uint32_t udp_send(const send_params *, result_empty *);
IMPORT(SOCKETS, "[async-lower][method]udp-socket.receive") uint32_t udp_receive(handle, result_received *);
/* The same, lowered as functions that block. */
IMPORT(SOCKETS, "[method]udp-socket.send")
void udp_send_blocking(handle, const uint8_t *, uint32_t, uint32_t has_address, FLAT_ADDRESS, result_empty *);
IMPORT(SOCKETS, "[method]udp-socket.receive") void udp_receive_blocking(handle, result_received *);

/* The low four bits of what an async-lowered call answers; a subtask's handle is above. */
enum { STARTING, STARTED, RETURNED, CANCELLED_BEFORE_STARTED, CANCELLED_BEFORE_RETURNED };
#define STATE_OF(status) ((status) & 15)
#define SUBTASK_OF(status) ((status) >> 4)

/* Events. */
enum { EVENT_NONE, EVENT_SUBTASK };
typedef struct {
  uint32_t waitable, state;
} event_payload;

IMPORT("$root", "[waitable-set-new]") handle waitable_set_new(void);
IMPORT("$root", "[waitable-set-drop]") void waitable_set_drop(handle);
IMPORT("$root", "[waitable-join]") void waitable_join(handle waitable, handle set);
IMPORT("$root", "[waitable-set-wait]") uint32_t waitable_set_wait(handle set, event_payload *);
IMPORT("$root", "[waitable-set-poll]") uint32_t waitable_set_poll(handle set, event_payload *);
IMPORT("$root", "[subtask-drop]") void subtask_drop(handle);
IMPORT("$root", "[subtask-cancel]") uint32_t subtask_cancel(handle);

/* What an export, or its callback, answers. */
enum { EXIT, YIELD, WAIT };
#define WAIT_ON(set) (WAIT | (set) << 4)

/* An error that the guest does not expect traps it. */
#define CHECK(condition) ((condition) ? (void)0 : __builtin_trap())

/* The host fills lists through this. */
EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old_size;
  (void)align;
  void *block = realloc(old, size);
  CHECK(block != NULL || size == 0);
  return block;
}

static inline socket_address loopback(int family, int port) {
  return family == IPV4 ? (socket_address){.family = IPV4, .v4 = {.port = port, .address = {127, 0, 0, 1}}}
                        : (socket_address){.family = IPV6, .v6 = {.port = port, .address = {[7] = 1}}};
}

static inline flat_address flatten(const socket_address *address) {
  const uint8_t *four = address->v4.address;
  const uint16_t *six = address->v6.address;
  if (address->family == IPV4)
    return (flat_address){{IPV4, address->v4.port, four[0], four[1], four[2], four[3]}};
  return (flat_address){{IPV6, address->v6.port, address->v6.flow_info, six[0], six[1], six[2], six[3], six[4], six[5],
                         six[6], six[7], address->v6.scope_id}};
}

static inline handle udp_open(int family) {
  result_empty result;
  udp_create(family, &result);
  CHECK(!result.is_error);
  return result.socket;
}

/* A socket that is bound to a free port of the loopback interface. */
static inline handle udp_open_bound(int family) {
  handle socket = udp_open(family);
  socket_address any = loopback(family, 0);
  flat_address local = flatten(&any);
  result_empty result;
  udp_bind(socket, FLATTENED(local), &result);
  CHECK(!result.is_error);
  return socket;
}

static inline handle udp_open_connected(int family, int port) {
  handle socket = udp_open(family);
  socket_address peer = loopback(family, port);
  flat_address remote = flatten(&peer);
  result_empty result;
  udp_connect(socket, FLATTENED(remote), &result);
  CHECK(!result.is_error);
  return socket;
}

static inline int udp_port(handle socket) {
  result_address result;
  udp_local_address(socket, &result);
  CHECK(!result.is_error);
  return result.address.v4.port;
}

/* A datagram begins with its number. */
static inline uint32_t number_of(const uint8_t *data, uint32_t length) {
  uint32_t number = 0;
  memcpy(&number, data, length < sizeof number ? length : sizeof number);
  return number;
}

/* What became of calls that are numbered from 0: OK, or the error-code of each; the size of the list is known at its start. */
typedef struct {
  int32_t *list;
  uint32_t count;
} outcomes;

static inline outcomes outcomes_of(uint32_t count) {
  outcomes made = {.list = malloc(count * sizeof(int32_t)), .count = count};
  CHECK(made.list != NULL || count == 0);
  return made;
}

static inline int32_t outcome_of(const result_empty *result) { return result->is_error ? result->error.code : OK; }
