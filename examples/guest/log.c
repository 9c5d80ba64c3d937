/*
 * A guest component of WASI 0.3: sends the lines of standard input to a syslog server, each as a message of RFC 5424, and each
 * when the system has taken the one before. scripts/guests.mjs builds it; with Node.js 24.21 or newer
 *
 *     npx wasi-udp run build/guests/log.wasm --allow-bind 0.0.0.0:0 --allow-send 192.0.2.1:514 -- 192.0.2.1 514 < app.log
 *
 * gives it what it needs of the network, and no more.
 */
#include "../../guests/async/run-output.h"
#include "../../guests/async/run-sockets.h"

#define STDIN "wasi:cli/stdin@0.3.0"
IMPORT(STDIN, "read-via-stream") void read_via_stream(handle pair[2]);
IMPORT(STDIN, "[stream-read-0]read-via-stream") uint32_t stdin_read(handle, void *, size_t);

/* <14>: facility "user", severity "info" (RFC 5424, 6.2.1). What is longer than a message may be is cut off. */
static char message[2048] = "<14>1 - - replay - - - ";
static size_t header, length;

/* Takes a byte of the text; at the end of a line, sends it. Returns whether that failed. */
static bool take(handle socket, char byte, uint64_t *sent) {
  if (byte != '\n') {
    if (length < sizeof message) message[length++] = byte;
    return false;
  }
  outcome done;
  udp_send(socket, message, length, false, IPV4(0, 0, 0, 0, 0), &done);
  length = header;
  if (done.is_error) tell("send", done.is_error, done.code);
  else ++*sent;
  return done.is_error;
}

static bool run(void) {
  uint32_t ip[4];
  char *at = (char *)argument(1);
  for (int i = 0; i < 4; i++) {
    ip[i] = strtoul(at, &at, 10);
    at += *at == '.';
  }
  handle socket = udp_socket(), input[2];
  outcome done;
  udp_connect(socket, IPV4(ip[0], ip[1], ip[2], ip[3], atoi(argument(2))), &done);
  if (done.is_error) tell("connect", done.is_error, done.code);
  bool failed = done.is_error;
  header = length = strlen(message);
  read_via_stream(input);
  uint64_t sent = 0;
  for (uint32_t status = 0; !failed && (status & 15) == 0;) {
    static char buffer[16 * 1024];
    status = stdin_read(input[0], buffer, sizeof buffer);
    for (size_t i = 0; !failed && i < status >> 4; i++) failed = take(socket, buffer[i], &sent);
  }
  number(sent);
  text(" messages sent\n");
  return !close_output() || failed;
}
