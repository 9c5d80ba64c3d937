/* Prints its arguments and one variable, tries to open a file, and exits as the first argument says. */
#include "guest.h"

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) printf("argument %s\n", argv[i]);
  const char *level = getenv("LEVEL");
  printf("LEVEL %s\n", level == NULL ? "unset" : level);
  printf("PATH %s\n", getenv("PATH") == NULL ? "unset" : "set");
  printf("file %s\n", fopen("/etc/hostname", "r") == NULL ? "not there" : "open");
  return argc > 1 ? atoi(argv[1]) : 0;
}
