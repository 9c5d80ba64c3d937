// refuse ERRNO CALL,... COMMAND ARGUMENT...: runs a command to which the system refuses those calls, as a container's filter
// does: seccomp(2). `recvmsg/errqueue` is recvmsg(2) with MSG_ERRQUEUE alone.
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *name; unsigned number, flag; } calls[] = {
    {"sendto", SYS_sendto, 0},     {"sendmmsg", SYS_sendmmsg, 0}, {"sendmsg", SYS_sendmsg, 0},
    {"recvmmsg", SYS_recvmmsg, 0}, {"recvmsg", SYS_recvmsg, 0},   {"recvmsg/errqueue", SYS_recvmsg, MSG_ERRQUEUE},
    {"setsockopt", SYS_setsockopt, 0},
};

int main(int count, char **arguments) {
  if (count < 4) return fputs("usage: refuse ERRNO CALL,... COMMAND ARGUMENT...\n", stderr), 2;
  unsigned answer = SECCOMP_RET_ERRNO | (strcmp(arguments[1], "EPERM") == 0 ? EPERM : ENOSYS);
  struct sock_filter filter[64];
  unsigned short length = 0;
  for (char *name = strtok(arguments[2], ","); name != NULL; name = strtok(NULL, ",")) {
    size_t i = 0;
    while (i < sizeof calls / sizeof *calls && strcmp(calls[i].name, name) != 0) i++;
    if (i == sizeof calls / sizeof *calls || length > 50) return fprintf(stderr, "unknown call: %s\n", name), 2;
    unsigned skip = calls[i].flag == 0 ? 1 : 3;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, skip);
    if (calls[i].flag != 0) {
      filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2]));
      filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, calls[i].flag, 0, 1);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answer);
  }
  filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  struct sock_fprog program = {.len = length, .filter = filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    return perror("refuse: no filter"), 3;
  execvp(arguments[3], arguments + 3);
  return perror("refuse: no such command"), 3;
}
