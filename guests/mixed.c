/*
 * Waits on UDP, TCP, standard input and a clock in one poll. Tells its UDP port, connects by TCP to the port of 127.0.0.1 that
 * the argument names, and tells what becomes ready, until each of the three was heard.
 */
#include "guest.h"

typedef struct {
  uint8_t is_error;
  uint32_t words[2];
} result_streams;

IMPORT("wasi:cli/stdin", "get-stdin") handle get_stdin(void);
IMPORT("wasi:io/streams", "[method]input-stream.subscribe") handle input_subscribe(handle);
IMPORT("wasi:io/streams", "[method]input-stream.read") void input_read(handle, uint64_t, result_words *);
IMPORT("wasi:sockets/tcp-create-socket", "create-tcp-socket") void create_tcp_socket(int family, result_words *);
IMPORT("wasi:sockets/tcp", "[method]tcp-socket.start-connect")
void tcp_start_connect(handle, handle network, FLAT_ADDRESS, result_byte *);
IMPORT("wasi:sockets/tcp", "[method]tcp-socket.finish-connect") void tcp_finish_connect(handle, result_streams *);
IMPORT("wasi:sockets/tcp", "[method]tcp-socket.subscribe") handle tcp_subscribe(handle);

enum { UDP_SIDE, TCP_SIDE, STDIN_SIDE, SIDES };
static const char *const NAMES[] = {"udp", "tcp", "stdin"};

/* The index of the first pollable that is ready; ends the program after ten seconds. */
static int wait_for(const handle *pollables, int count) {
  handle list[SIDES + 1];
  uint32_t ready[2];
  memcpy(list, pollables, count * sizeof *list);
  list[count] = clock_subscribe_duration(10000000000);
  poll_poll(list, count + 1, ready);
  int first = ((uint32_t *)ready[0])[0];
  free((void *)ready[0]);
  pollable_drop(list[count]);
  if (first == count) FAIL("nothing became ready within ten seconds");
  return first;
}

static void print_input(handle input) {
  result_words result;
  input_read(input, 100, &result);
  CHECK(!result.is_error);
  printf("%.*s\n", (int)result.words[1], (char *)result.words[0]);
}

int main(int argc, char **argv) {
  if (argc != 2) FAIL("usage: mixed PORT");
  handle udp, incoming, outgoing, readable[SIDES];
  socket_address local, server = loopback(IPV4, atoi(argv[1]));
  EXPECT(OK, udp_open(IPV4, &udp));
  EXPECT(OK, bind_to(udp, loopback(IPV4, 0)));
  EXPECT(OK, local_address(udp, &local));
  EXPECT(OK, stream_to(udp, NULL, &incoming, &outgoing));
  readable[UDP_SIDE] = incoming_subscribe(incoming);

  result_words tcp;
  result_byte started;
  result_streams streams;
  create_tcp_socket(IPV4, &tcp);
  CHECK(!tcp.is_error);
  tcp_start_connect(tcp.words[0], instance_network(), FLATTEN(&server), &started);
  CHECK(!started.is_error);
  handle connecting[] = {readable[UDP_SIDE], tcp_subscribe(tcp.words[0])};
  CHECK(wait_for(connecting, 2) == 1);
  tcp_finish_connect(tcp.words[0], &streams);
  CHECK(!streams.is_error);

  handle input = get_stdin();
  readable[TCP_SIDE] = input_subscribe(streams.words[0]);
  readable[STDIN_SIDE] = input_subscribe(input);
  printf("port %d\n", port_of(&local));
  fflush(stdout);
  for (int heard = 0; heard != (1 << SIDES) - 1;) {
    int side = wait_for(readable, SIDES);
    printf("%s: ", NAMES[side]);
    if (side == UDP_SIDE) {
      incoming_datagram *list;
      size_t count;
      EXPECT(OK, receive_list(incoming, 1, &list, &count));
      CHECK(count == 1);
      printf("%.*s\n", (int)list[0].length, (char *)list[0].data);
    } else {
      print_input(side == TCP_SIDE ? streams.words[0] : input);
    }
    fflush(stdout);
    heard |= 1 << side;
  }
  exit(0);
}
