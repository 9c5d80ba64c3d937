/* Prints its arguments, its environment, and how many folders it has; by one stream, which it closes. */
#include "run-output.h"

typedef struct {
  struct {
    string name, value;
  } * items;
  size_t count;
} variables;
IMPORT("wasi:cli/environment@0.3.0", "get-environment") void get_environment(variables *);
IMPORT("wasi:cli/environment@0.3.0", "get-initial-cwd") void get_initial_cwd(uint8_t result[12]);
IMPORT("wasi:filesystem/preopens@0.3.0", "get-directories") void get_directories(strings *);

static bool run(void) {
  strings all;
  get_arguments(&all);
  for (size_t i = 1; i < all.count; i++) {
    text("argument ");
    print(all.items[i].data, all.items[i].length);
    text("\n");
  }
  variables environment;
  get_environment(&environment);
  for (size_t i = 0; i < environment.count; i++) {
    print(environment.items[i].name.data, environment.items[i].name.length);
    text(" ");
    print(environment.items[i].value.data, environment.items[i].value.length);
    text("\n");
  }
  uint8_t cwd[12];
  get_initial_cwd(cwd);
  text(cwd[0] ? "a working directory\n" : "no working directory\n");
  get_directories(&all);
  number(all.count);
  text(" folders\n");
  return !close_output();
}
