/* The UDP sockets of wasi:sockets/types@0.3.0 for the guests of run-guest.h, over IPv4. */
#pragma once
#include "run-guest.h"

#define TYPES "wasi:sockets/types@0.3.0"

/* variant error-code, in its order. */
static const char *const ERROR_NAMES[] = {
    "access-denied",        "not-supported",   "invalid-argument",   "out-of-memory",      "timeout",
    "invalid-state",        "address-not-bindable", "address-in-use", "remote-unreachable", "connection-refused",
    "connection-broken",    "connection-reset", "connection-aborted", "datagram-too-large", "other",
};

/* result<_, error-code>: `other` brings a text. */
typedef struct {
  uint8_t is_error;
  uint8_t padding[3];
  uint8_t code;
  uint8_t other[15];
} outcome;

/* variant ip-socket-address, flattened: the family, then up to eleven values, of which IPv4 has port and four bytes. */
#define ADDRESS uint32_t family, uint32_t port, uint32_t a, uint32_t b, uint32_t c, uint32_t d, uint32_t, uint32_t, uint32_t, \
                uint32_t, uint32_t, uint32_t
#define IPV4(a, b, c, d, port) 0, port, a, b, c, d, 0, 0, 0, 0, 0, 0
#define LOOPBACK(port) IPV4(127, 0, 0, 1, port)

/* The same in memory, 32 bytes. */
typedef struct {
  uint8_t family, padding[3];
  uint16_t port;
  uint8_t address[4], rest[22];
} __attribute__((aligned(4))) socket_address;
_Static_assert(sizeof(socket_address) == 32, "ip-socket-address");

/* result<tuple<list<u8>, ip-socket-address>, error-code>; `data` is the guest's to free. */
typedef struct {
  uint8_t is_error;
  union {
    uint8_t code;
    struct {
      uint8_t *data;
      size_t length;
      socket_address remote;
    };
  } __attribute__((aligned(4)));
} received;
_Static_assert(sizeof(received) == 44, "result of receive");

/* result<own<_>, error-code> */
typedef struct {
  uint8_t is_error;
  union {
    uint8_t code;
    handle socket;
  } __attribute__((aligned(4)));
  uint8_t other[12];
} created;

IMPORT(TYPES, "[static]udp-socket.create") void udp_create(uint32_t family, created *);
IMPORT(TYPES, "[method]udp-socket.bind") void udp_bind(handle, ADDRESS, outcome *);
IMPORT(TYPES, "[method]udp-socket.connect") void udp_connect(handle, ADDRESS, outcome *);
IMPORT(TYPES, "[method]udp-socket.send")
void udp_send(handle, const void *data, size_t length, uint32_t has_remote, ADDRESS, outcome *);
IMPORT(TYPES, "[method]udp-socket.receive") void udp_receive(handle, received *);

static inline handle udp_socket(void) {
  created result;
  udp_create(0, &result);
  if (result.is_error) abort();
  return result.socket;
}

/* Prints what came of a call. */
static inline void tell(const char *call, uint8_t is_error, uint8_t code) {
  text(call);
  text(": ");
  text(is_error ? ERROR_NAMES[code] : "ok");
  text("\n");
}
