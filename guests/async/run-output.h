/* Standard output of 0.3 for the guests of run-guest.h. */
#pragma once
#include "run-guest.h"

/* Streams of bytes: a pair of handles, the reader's in the low half; a count above four bits of status, 0 for "goes on". */

#define STREAM_IMPORTS(module, function, of)                                                                           \
  IMPORT(module, "[stream-new-0]" function) uint64_t of##_new(void);                                                  \
  IMPORT(module, "[stream-write-0]" function) uint32_t of##_write(handle, const void *, size_t);                      \
  IMPORT(module, "[stream-drop-writable-0]" function) void of##_drop(handle);

/* Standard output. */

#define STDOUT "wasi:cli/stdout@0.3.0"
STREAM_IMPORTS(STDOUT, "write-via-stream", stdout)
IMPORT(STDOUT, "write-via-stream") handle write_via_stream(handle reader);
IMPORT(STDOUT, "[future-read-1]write-via-stream") uint32_t stdout_result(handle future, uint8_t result[2]);

static handle output, output_result;

/* Waits until it is taken. */
static void print(const char *data, size_t length) {
  if (output == 0) {
    uint64_t pair = stdout_new();
    output_result = write_via_stream((handle)pair);
    output = (handle)(pair >> 32);
  }
  while (length > 0) {
    uint32_t written = stdout_write(output, data, length);
    data += written >> 4;
    length -= written >> 4;
    if ((written & 15) != 0) break;
  }
}
/* Ends standard output; whether all was written. */
static inline bool close_output(void) {
  uint8_t result[2] = {1, 0};
  stdout_drop(output);
  stdout_result(output_result, result);
  return result[0] == 0;
}
