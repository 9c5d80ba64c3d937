/* Binds: to a free port, to a named one, to every interface; and what must be refused, after which the socket still binds. */
#include "guest.h"

static void binds(int family) {
  handle first, second;
  socket_address local, other;
  EXPECT(OK, udp_open(family, &first));
  EXPECT(OK, bind_to(first, loopback(family, 0)));
  EXPECT(OK, local_address(first, &local));
  socket_address expected = loopback(family, port_of(&local));
  CHECK(port_of(&local) != 0 && same_address(&local, &expected));

  /* Taken, and then free again. */
  EXPECT(OK, udp_open(family, &second));
  EXPECT(ADDRESS_IN_USE, bind_to(second, local));
  EXPECT(INVALID_STATE, local_address(second, &other));
  udp_drop(first);
  EXPECT(OK, bind_to(second, local));
  EXPECT(OK, local_address(second, &other));
  CHECK(same_address(&local, &other));
  udp_drop(second);

  EXPECT(OK, udp_open(family, &first));
  EXPECT(OK, bind_to(first, unspecified(family, 0)));
  EXPECT(OK, local_address(first, &local));
  expected = unspecified(family, port_of(&local));
  CHECK(port_of(&local) != 0 && same_address(&local, &expected));
  udp_drop(first);
}

static void refusals(int family) {
  handle socket;
  /* Addresses of documentation networks, which no interface has. */
  socket_address foreign = family == IPV4 ? ipv4(192, 0, 2, 1, 0) : ipv6(0x2001, 0xdb8, 0, 0, 1, 0);
  EXPECT(OK, udp_open(family, &socket));
  EXPECT(INVALID_ARGUMENT, bind_to(socket, loopback(family == IPV4 ? IPV6 : IPV4, 0)));
  if (family == IPV6) EXPECT(INVALID_ARGUMENT, bind_to(socket, ipv6(0, 0, 0xffff, 0x7f00, 1, 0)));
  EXPECT(ADDRESS_NOT_BINDABLE, bind_to(socket, foreign));
  EXPECT(OK, bind_to(socket, loopback(family, 0)));
  EXPECT(INVALID_STATE, bind_to(socket, loopback(family, 0)));
  udp_drop(socket);
}

int main(void) {
  for (int family = IPV4; family <= IPV6; family++) {
    binds(family);
    refusals(family);
  }
  return 0;
}
