/*
 * 0.3 for UDP; 0.2 for arguments, standard output and clocks: asks the echo server on a port of 127.0.0.1, waits a moment, and
 * prints the answer. PORT
 */
#define ENVIRONMENT "wasi:cli/environment@0.2.12"
#include "run-sockets.h"

#define STREAMS "wasi:io/streams@0.2.12"
IMPORT("wasi:cli/stdout@0.2.12", "get-stdout") handle get_stdout(void);
IMPORT(STREAMS, "[method]output-stream.blocking-write-and-flush")
void write_and_flush(handle, const char *, size_t, uint8_t result[12]);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "now") uint64_t now(void);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration") handle subscribe_duration(uint64_t nanoseconds);
IMPORT("wasi:io/poll@0.2.12", "[method]pollable.block") void block(handle pollable);

static void print(const char *data, size_t length) {
  uint8_t result[12];
  write_and_flush(get_stdout(), data, length, result);
}

static bool run(void) {
  const uint64_t moment = 20 * 1000 * 1000;
  handle socket = udp_socket();
  outcome done;
  udp_connect(socket, LOOPBACK(atoi(argument(1))), &done);
  tell("connect", done.is_error, done.code);
  if (done.is_error) return true;
  udp_send(socket, "question", 8, false, LOOPBACK(0), &done);
  uint64_t from = now();
  block(subscribe_duration(moment));
  text(now() - from >= moment ? "waited\n" : "did not wait\n");
  received one;
  udp_receive(socket, &one);
  if (one.is_error) return true;
  print((char *)one.data, one.length);
  text("\n");
  return false;
}
