/*
 * The benchmark's guest of WASI 0.3: a datagram a call, so many calls in flight. Its first argument says what it does.
 *
 * `send to=A.B.C.D:PORT sizes=BYTES batch=COUNT connected=BOOL`, COUNT in flight: answers the lines that crates/peers answers;
 * `once` sends COUNT datagrams, a number is the milliseconds of a slice.
 * `receive most=COUNT`, COUNT in flight: prints its port, then answers each line `DATAGRAMS` by receiving as many, and printing
 * how many came and the nanoseconds that they took.
 * `echo`: prints its port, then sends each datagram back, one after the other.
 */
#include <stdlib.h>
#include <string.h>

#include "bench-async.h"

/* The least nanoseconds that are measured as one, so that reading the clock does not count. */
enum { CHUNK = 500000 };
/* The least calls that are measured as one: the quickest of all calls tells its luck. */
enum { LEAST_CALLS = 16 };
enum { MOST_IN_FLIGHT = 1024, MOST_BYTES = 65536 };

/* A call that may be in flight. */
typedef struct {
  send_parameters sent;
  union {
    nothing_result accepted;
    receive_result received;
  };
} call;

static call calls[MOST_IN_FLIGHT];
static uint16_t idle[MOST_IN_FLIGHT];
static size_t idle_count;
/* Which call a subtask is, by the low bits of its handle. */
static uint16_t call_of[1 << 16];

static enum { SEND, RECEIVE, ECHO } role;
static strings arguments;
static handle udp, set, input, output;
static size_t in_flight;
/* Of the calls that are measured as one: how many are wanted, were begun, and did well. */
static size_t wanted, begun, done_well;
static uint64_t begin;
/* Of a slice: how many are measured as one, when it ends, and nanoseconds a hundred datagrams of the quickest. */
static size_t chunk;
static uint64_t end, least;
static bool is_slice;
/* Of an echo: what is to be called next. */
static bool is_received;

/* What hosts write into: they never keep more than one call's at a time, or a few bytes for each call in flight. */
static uint8_t arena[4 << 20];
static size_t arena_used;

EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
  EXPECT(old == NULL && old_size == 0 && size <= sizeof arena);
  size_t from = (arena_used + alignment - 1) / alignment * alignment;
  if (from + size > sizeof arena) from = 0;
  arena_used = from + size;
  return arena + from;
}

static void print(const char *line) {
  bytes_result result;
  blocking_write_and_flush(output, line, strlen(line), &result);
  EXPECT(!result.failed);
}

/* Writes a number so that it ends before `at`, and returns where it begins. */
static char *digits(char *at, uint64_t number) {
  do *--at = '0' + number % 10;
  while ((number /= 10) > 0);
  return at;
}

/* Prints a line of a number, or of two with something between them; wasi-libc's stdio would make calls of WASI preview 1. */
static void print_numbers(uint64_t first, const char *between, uint64_t second) {
  char line[64], *at = line + sizeof line;
  *--at = 0;
  *--at = '\n';
  if (between != NULL) {
    at = digits(at, second);
    at -= strlen(between);
    memcpy(at, between, strlen(between));
  }
  print(digits(at, first));
}

/* Waits for a line; false at the end. Byte by byte, so that the next line stays where it is. */
static bool read_line(char line[64]) {
  for (size_t length = 0; length < 64; length++) {
    bytes_result result;
    blocking_read(input, 1, &result);
    if (result.failed) return false;
    line[length] = result.bytes[0];
    if (line[length] != '\n') continue;
    line[length] = 0;
    return true;
  }
  return false;
}

static void begin_chunk(size_t count) {
  wanted = count;
  begun = done_well = 0;
  begin = clock_now();
}

/* Begins what a line asks for; false where there are no more lines. */
static bool next_line(void) {
  char line[64];
  if (!read_line(line)) return false;
  uint64_t number = strtoull(line, NULL, 10);
  is_slice = role == SEND && number > 0;
  least = UINT64_MAX;
  if (is_slice) end = clock_now() + number * 1000000;
  begin_chunk(is_slice ? chunk : role == SEND ? in_flight : number);
  return true;
}

/* All that was wanted is done: answers the line, or goes on with its slice. */
static bool next_chunk(void) {
  uint64_t now = clock_now(), elapsed = now - begin;
  if (is_slice && done_well > 0) {
    if (elapsed < CHUNK) {
      chunk *= 2;
    } else if (elapsed * 100 / done_well < least) {
      least = elapsed * 100 / done_well;
    }
    if (now < end || least == UINT64_MAX) {
      begin_chunk(chunk);
      return true;
    }
    print_numbers(least / 100, least % 100 < 10 ? ".0" : ".", least % 100);
  } else if (is_slice) {
    print("failed: no datagram was accepted\n");
  } else if (role == SEND) {
    print_numbers(done_well, NULL, 0);
  } else {
    print_numbers(done_well, " ", elapsed);
  }
  return next_line();
}

/* Calls, and returns whether it is done; otherwise its subtask is in the set. */
static bool is_done(size_t which, bool receives) {
  call *one = &calls[which];
  uint32_t status = receives ? udp_receive(udp, &one->received) : udp_send(&one->sent, &one->accepted);
  if ((status & 15) == RETURNED) return true;
  handle subtask = status >> 4;
  call_of[subtask & 0xffff] = which;
  waitable_join(subtask, set);
  return false;
}

/* Calls until as many are in flight as may be. */
static uint32_t go_on(void) {
  for (;;) {
    while (begun < wanted && idle_count > 0) {
      size_t which = idle[idle_count - 1];
      begun++;
      if (!is_done(which, role == RECEIVE)) idle_count--;
      else done_well += !calls[which].accepted.failed;
    }
    if (idle_count < in_flight) return WAIT | set << 4;
    if (!next_chunk()) break;
  }
  return_from_run(0);
  return EXIT;
}

/* Receives and sends in turn, until a call is not done at once. */
static uint32_t go_on_echoing(void) {
  call *one = &calls[0];
  for (;;) {
    if (is_received && !one->received.failed) {
      one->sent.data = one->received.data;
      one->sent.length = one->received.length;
      one->sent.remote = one->received.remote;
      is_received = false;
      if (!is_done(0, false)) break;
    }
    is_received = true;
    if (!is_done(0, true)) break;
  }
  return WAIT | set << 4;
}

EXPORT("[callback][async-lift]wasi:cli/run@0.3.0#run") uint32_t on_event(uint32_t event, handle waitable, uint32_t state) {
  if (event != EVENT_SUBTASK || state != RETURNED) return WAIT | set << 4;
  subtask_drop(waitable);
  if (role == ECHO) return go_on_echoing();
  size_t which = call_of[waitable & 0xffff];
  idle[idle_count++] = which;
  done_well += !calls[which].accepted.failed;
  return go_on();
}

/* The value of the argument `NAME=VALUE`; NULL where there is none. */
static const char *value_of(const char *name) {
  static char value[64];
  for (size_t i = 0, length = strlen(name); i < arguments.count; i++) {
    string argument = arguments.items[i];
    if (argument.length - length >= sizeof value || memcmp(argument.text, name, length) != 0) continue;
    memcpy(value, argument.text + length, argument.length - length);
    value[argument.length - length] = 0;
    return value;
  }
  return NULL;
}

static size_t number_of(const char *name, size_t otherwise) {
  const char *value = value_of(name);
  return value == NULL ? otherwise : strtoul(value, NULL, 10);
}

static void open_sender(void) {
  static uint8_t payload[MOST_BYTES];
  uint32_t numbers[5];
  const char *at = value_of("to=");
  EXPECT(at != NULL);
  for (int i = 0; i < 5; i++) {
    char *after;
    numbers[i] = strtoul(at, &after, 10);
    at = after + 1;
  }
  socket_address remote = { .ipv4 = { numbers[4], { numbers[0], numbers[1], numbers[2], numbers[3] } } };
  const char *connected = value_of("connected=");
  bool is_connected = connected != NULL && strcmp(connected, "true") == 0;
  nothing_result result;
  if (is_connected) udp_connect(udp, IPV4_WORDS(numbers[4], numbers[0], numbers[1], numbers[2], numbers[3]), &result);
  else udp_bind(udp, IPV4_WORDS(0, 0, 0, 0, 0), &result);
  EXPECT(!result.failed);
  size_t size = number_of("sizes=", 0);
  EXPECT(size <= sizeof payload);
  memset(payload, 0x5a, size);
  for (size_t i = 0; i < in_flight; i++) calls[i].sent = (send_parameters){ udp, payload, size, !is_connected, remote };
  print("ready\n");
}

static void open_receiver(void) {
  nothing_result result;
  address_result local;
  udp_bind(udp, IPV4_WORDS(0, 127, 0, 0, 1), &result);
  EXPECT(!result.failed);
  udp_set_receive_buffer_size(udp, 4 << 20, &result);
  EXPECT(!result.failed);
  udp_local_address(udp, &local);
  EXPECT(!local.failed);
  calls[0].sent = (send_parameters){ .self = udp, .has_address = true };
  print_numbers(local.address.ipv4.port, NULL, 0);
}

EXPORT("[async-lift]wasi:cli/run@0.3.0#run") uint32_t run(void) {
  handle_result socket;
  input = get_stdin();
  output = get_stdout();
  get_arguments(&arguments);
  EXPECT(arguments.count > 1);
  role = arguments.items[1].text[0] == 's' ? SEND : arguments.items[1].text[0] == 'r' ? RECEIVE : ECHO;
  in_flight = role == SEND ? number_of("batch=", 1) : number_of("most=", 1);
  EXPECT(in_flight > 0 && in_flight <= MOST_IN_FLIGHT);
  for (size_t i = in_flight; i > 0; i--) idle[idle_count++] = i - 1;
  chunk = in_flight < LEAST_CALLS ? LEAST_CALLS : in_flight;
  set = waitable_set_new();
  udp_create(0, &socket);
  EXPECT(!socket.failed);
  udp = socket.made;
  if (role == SEND) open_sender();
  else open_receiver();
  if (role == ECHO) return go_on_echoing();
  if (next_line()) return go_on();
  return_from_run(0);
  return EXIT;
}
