/* Prints numbered lines: as many as the argument says, or without end. */
#include "guest.h"

int main(int argc, char **argv) {
  const long count = argc > 1 ? atol(argv[1]) : -1;
  for (long i = 0; i != count; i++) {
    printf("line %ld, with as many words behind it as make it somewhat longer than a few bytes\n", i);
  }
  return 0;
}
