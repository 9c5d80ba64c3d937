/* What the benchmark's guest of 0.3 calls, as the canonical ABI lowers it. */
#ifndef BENCH_ASYNC_H
#define BENCH_ASYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint32_t handle;

#define IMPORT(MODULE, NAME) __attribute__((import_module(MODULE), import_name(NAME)))
#define EXPORT(NAME) __attribute__((export_name(NAME)))

/* What an async function answers, in the low four bits; above them is the handle of a subtask that has not returned. */
enum { RETURNED = 2 };
/* What a callback answers: that the task is over, or that it waits; above the low four bits is the handle of the set. */
enum { EXIT = 0, WAIT = 2 };
/* The event of a subtask: its handle, and its state. */
enum { EVENT_SUBTASK = 1 };

/* ip-socket-address. Of ipv4: the port, and four bytes in network order. */
typedef struct {
  uint8_t family;
  union {
    struct {
      uint16_t port;
      uint8_t address[4];
    } ipv4;
    uint32_t widest[7];
  };
} socket_address;

/* The parameters of udp-socket.send. */
typedef struct {
  handle self;
  const uint8_t *data;
  size_t length;
  uint8_t has_address;
  socket_address remote;
} send_parameters;

/* Where results of the calls are written; `failed` is 0 where they are what their names say. */
typedef struct {
  uint8_t failed;
  uint32_t error[4];
} nothing_result;
typedef struct {
  uint8_t failed;
  union {
    handle made;
    uint32_t error[4];
  };
} handle_result;
typedef struct {
  uint8_t failed;
  socket_address address;
} address_result;
typedef struct {
  uint8_t failed;
  uint8_t *data;
  size_t length;
  socket_address remote;
} receive_result;
typedef struct {
  uint8_t failed;
  uint8_t *bytes;
  size_t length;
} bytes_result;
typedef struct {
  char *text;
  size_t length;
} string;
typedef struct {
  string *items;
  size_t count;
} strings;

#define SOCKETS "wasi:sockets/types@0.3.0"
#define UDP(NAME) IMPORT(SOCKETS, NAME)
#define ADDRESS_WORDS \
  uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t
/* An ipv4 address as ADDRESS_WORDS. */
#define IPV4_WORDS(PORT, A, B, C, D) 0, PORT, A, B, C, D, 0, 0, 0, 0, 0, 0

UDP("[static]udp-socket.create") void udp_create(uint32_t family, handle_result *result);
UDP("[method]udp-socket.bind") void udp_bind(handle self, ADDRESS_WORDS, nothing_result *result);
UDP("[method]udp-socket.connect") void udp_connect(handle self, ADDRESS_WORDS, nothing_result *result);
UDP("[method]udp-socket.get-local-address") void udp_local_address(handle self, address_result *result);
UDP("[method]udp-socket.set-receive-buffer-size")
void udp_set_receive_buffer_size(handle self, uint64_t bytes, nothing_result *result);
UDP("[async-lower][method]udp-socket.send") uint32_t udp_send(send_parameters *parameters, nothing_result *result);
UDP("[async-lower][method]udp-socket.receive") uint32_t udp_receive(handle self, receive_result *result);

IMPORT("wasi:clocks/monotonic-clock@0.3.0", "now") uint64_t clock_now(void);
IMPORT("wasi:cli/environment@0.2.12", "get-arguments") void get_arguments(strings *result);
IMPORT("wasi:cli/stdin@0.2.12", "get-stdin") handle get_stdin(void);
IMPORT("wasi:cli/stdout@0.2.12", "get-stdout") handle get_stdout(void);
IMPORT("wasi:io/streams@0.2.12", "[method]input-stream.blocking-read")
void blocking_read(handle self, uint64_t length, bytes_result *result);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.blocking-write-and-flush")
void blocking_write_and_flush(handle self, const char *bytes, size_t length, bytes_result *result);

IMPORT("$root", "[waitable-set-new]") handle waitable_set_new(void);
IMPORT("$root", "[waitable-join]") void waitable_join(handle waitable, handle set);
IMPORT("$root", "[subtask-drop]") void subtask_drop(handle subtask);
IMPORT("[export]wasi:cli/run@0.3.0", "[task-return]run") void return_from_run(uint32_t failed);

/* Ends the guest where a call that may not fail has failed. */
#define EXPECT(CONDITION) \
  do { \
    if (!(CONDITION)) __builtin_trap(); \
  } while (0)

#endif
