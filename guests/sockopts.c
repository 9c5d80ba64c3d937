/* Options: their defaults, what is set is what is read, 0 is invalid, what the system does not have is clamped. */
#include "guest.h"

typedef error_code (*get_size)(handle, uint64_t *);
typedef error_code (*set_size)(handle, uint64_t);

static void sizes(handle socket, get_size get, set_size set) {
  uint64_t size;
  EXPECT(OK, get(socket, &size));
  CHECK(size > 0);
  EXPECT(INVALID_ARGUMENT, set(socket, 0));
  EXPECT(OK, set(socket, 1));
  EXPECT(OK, set(socket, UINT64_MAX));
  EXPECT(OK, get(socket, &size));
  CHECK(size > 0);
  EXPECT(OK, set(socket, 0x10000));
  EXPECT(OK, get(socket, &size));
  if (size != 0x10000) FAIL("set 0x10000, got %llu", size);
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    handle socket;
    int limit;
    EXPECT(OK, udp_open(family, &socket));
    CHECK(udp_address_family(socket) == family);
    EXPECT(OK, hop_limit(socket, &limit));
    CHECK(limit > 0);
    EXPECT(INVALID_ARGUMENT, set_hop_limit(socket, 0));
    EXPECT(OK, set_hop_limit(socket, 1));
    EXPECT(OK, set_hop_limit(socket, 255));
    EXPECT(OK, set_hop_limit(socket, 42));
    EXPECT(OK, hop_limit(socket, &limit));
    CHECK(limit == 42);
    sizes(socket, receive_buffer_size, set_receive_buffer_size);
    sizes(socket, send_buffer_size, set_send_buffer_size);
    udp_drop(socket);
  }
  return 0;
}
