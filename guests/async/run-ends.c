/* Ends as its argument says, with a stream open to which it has written. */
#include "run-output.h"

IMPORT("wasi:cli/exit@0.3.0", "exit") void exit_with(bool is_error);
IMPORT("wasi:cli/exit@0.3.0", "exit-with-code") void exit_with_code(uint32_t);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "wait-for") void wait_for(uint64_t nanoseconds);
IMPORT("wasi:clocks/monotonic-clock@0.3.0", "[async-lower]wait-for") uint32_t wait_aside(uint64_t nanoseconds);
IMPORT(STDOUT, "[async-lower][stream-write-0]write-via-stream")
uint32_t write_aside(handle, const void *, size_t);

static const uint64_t MILLISECOND = 1000 * 1000, HOUR = 3600 * 1000 * MILLISECOND;

static bool run(void) {
  const char *how = argument(1);
  text("before\n");
  text("and again\n");
  if (strcmp(how, "err") == 0) return true;
  if (strcmp(how, "exit-ok") == 0) exit_with(false);
  if (strcmp(how, "exit-err") == 0) exit_with(true);
  if (strcmp(how, "exit-7") == 0) exit_with_code(7);
  if (strcmp(how, "trap") == 0) __builtin_trap();
  if (strcmp(how, "trap-later") == 0) {
    wait_for(20 * MILLISECOND);
    __builtin_trap();
  }
  if (strncmp(how, "aside", 5) == 0) {
    /* Nobody waits for either. */
    wait_aside(HOUR);
    static char block[300 * 1000];
    memset(block, 'x', sizeof block);
    write_aside(output, block, sizeof block);
    if (strcmp(how, "aside-exit") == 0) exit_with_code(7);
  }
  for (volatile bool spins = strcmp(how, "spin") == 0; spins;) continue;
  if (strcmp(how, "lines") == 0) {
    for (uint64_t i = 0;; i++) {
      number(i);
      text("\n");
    }
  }
  return false;
}
