/* Copies standard input to standard output. */
#include "run-output.h"

#define STDIN "wasi:cli/stdin@0.3.0"
IMPORT(STDIN, "read-via-stream") void read_via_stream(handle pair[2]);
IMPORT(STDIN, "[stream-read-0]read-via-stream") uint32_t stdin_read(handle, void *, size_t);

static bool run(void) {
  handle pair[2];
  read_via_stream(pair);
  for (;;) {
    static char buffer[4096];
    uint32_t count = stdin_read(pair[0], buffer, sizeof buffer);
    print(buffer, count >> 4);
    if ((count & 15) != 0) return !close_output();
  }
}
