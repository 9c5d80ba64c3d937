/*
 * What the guests of wasi:cli/run@0.3.0 share: its export, arguments, text. Imports are the canonical
 * ABI as a C compiler sees it. Functions that wait are lowered synchronously: they suspend the guest's stack until there is a
 * result. scripts/guests.mjs makes components of the compiled modules, and that checks every signature against the WIT.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int32_t handle;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))

/* The program: whether it failed. */
static bool run(void);

/* Writes to standard output: run-output.h has one. */
static void print(const char *data, size_t length);

IMPORT("[export]wasi:cli/run@0.3.0", "[task-return]run") void task_return(bool is_error);
EXPORT("[async-lift]wasi:cli/run@0.3.0#run") uint32_t lifted_run(void) {
  task_return(run());
  return 0; /* EXIT: there is nothing to call back for. */
}
EXPORT("[callback][async-lift]wasi:cli/run@0.3.0#run") uint32_t callback(uint32_t event, uint32_t a, uint32_t b) {
  (void)event, (void)a, (void)b;
  abort();
}
EXPORT("cabi_realloc") void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  (void)old_size, (void)align;
  return realloc(old, size);
}

/* Text. */

static inline void text(const char *text) { print(text, strlen(text)); }
static inline void number(uint64_t value) {
  char digits[20];
  size_t at = sizeof digits;
  do digits[--at] = (char)('0' + value % 10);
  while (value /= 10);
  print(digits + at, sizeof digits - at);
}

/* Arguments. */

typedef struct {
  char *data;
  size_t length;
} string;
typedef struct {
  string *items;
  size_t count;
} strings;
#ifndef ENVIRONMENT
#define ENVIRONMENT "wasi:cli/environment@0.3.0"
#endif
IMPORT(ENVIRONMENT, "get-arguments") void get_arguments(strings *);

/* An argument, which ends with a zero byte; "" where there is none. */
static inline const char *argument(size_t at) {
  strings all;
  get_arguments(&all);
  if (at >= all.count) return "";
  char *copy = calloc(1, all.items[at].length + 1);
  return memcpy(copy, all.items[at].data, all.items[at].length);
}
