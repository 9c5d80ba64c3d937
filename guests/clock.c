/* Tells the time of day and its resolution, in nanoseconds, with what lies around the results seen unchanged. */
#include "guest.h"
#include <time.h>

/* What wasi:clocks/wall-clock writes, between words of our own: a host that writes beside the result is found out. */
typedef struct {
  uint64_t before[8];
  uint64_t seconds;
  uint32_t nanoseconds;
  uint32_t padding;
  uint64_t behind[64];
} guarded_datetime;

IMPORT("wasi:clocks/wall-clock", "now") void wall_clock_now(uint64_t *);
IMPORT("wasi:clocks/wall-clock", "resolution") void wall_clock_resolution(uint64_t *);

static uint64_t ask(void (*function)(uint64_t *)) {
  guarded_datetime time;
  memset(&time, 0xa5, sizeof time);
  function(&time.seconds);
  for (int i = 0; i < 8; i++) CHECK(time.before[i] == 0xa5a5a5a5a5a5a5a5);
  for (int i = 0; i < 64; i++) CHECK(time.behind[i] == 0xa5a5a5a5a5a5a5a5);
  CHECK(time.nanoseconds < 1000000000);
  return time.seconds * 1000000000 + time.nanoseconds;
}

int main(void) {
  uint64_t resolution = ask(wall_clock_resolution);
  uint64_t first = ask(wall_clock_now);
  uint64_t now = first;
  for (int i = 0; now == first && i < 100000000; i++) now = ask(wall_clock_now);
  CHECK(now > first);
  struct timespec libc;
  CHECK(timespec_get(&libc, TIME_UTC) == TIME_UTC);
  printf("%llu %llu %llu\n", resolution, first, libc.tv_sec * 1000000000ull + libc.tv_nsec);
  return 0;
}
