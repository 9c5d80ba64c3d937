// firewall COMMAND ARGUMENT...: runs a command whose packets to odd UDP ports the system refuses (EPERM), as a firewall's rule on
// output does: a BPF program of a cgroup of its own, bpf(2), BPF_CGROUP_INET_EGRESS.
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <mntent.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OP(CODE, DST, SRC, OFF, IMM) \
  ((struct bpf_insn){.code = (CODE), .dst_reg = (DST), .src_reg = (SRC), .off = (OFF), .imm = (IMM)})

/** Reads two bytes at 22 (IPv4 without options) or 42 (IPv6): the destination's port. Its last bit decides. */
static const struct bpf_insn program[] = {
    OP(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
    OP(BPF_LDX | BPF_MEM | BPF_W, 2, 1, offsetof(struct __sk_buff, protocol), 0),
    OP(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 22),
    OP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 1, 0x0008), // ETH_P_IP in network order, on a little-endian machine
    OP(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 42),
    OP(BPF_ALU64 | BPF_MOV | BPF_X, 2, 3, 0, 0),
    OP(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0),
    OP(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
    OP(BPF_ALU64 | BPF_MOV | BPF_X, 3, 10, 0, 0),
    OP(BPF_ALU64 | BPF_ADD | BPF_K, 3, 0, 0, -8),
    OP(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 2),
    OP(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_skb_load_bytes),
    OP(BPF_LDX | BPF_MEM | BPF_B, 1, 10, -7, 0),
    OP(BPF_ALU64 | BPF_AND | BPF_K, 1, 0, 0, 1),
    OP(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1),
    OP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1, 0),
    OP(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
    OP(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};

static int refused(const char *what) { return fprintf(stderr, "firewall: %s: %s\n", what, strerror(errno)), 3; }

/** Makes a cgroup of the second hierarchy, wherever that is mounted. */
static int make_group(char *path, size_t room) {
  FILE *mounts = setmntent("/proc/self/mounts", "r");
  struct mntent *mount = NULL;
  while (mounts != NULL && (mount = getmntent(mounts)) != NULL && strcmp(mount->mnt_type, "cgroup2") != 0) {}
  if (mount == NULL) return errno = ENOENT, -1;
  snprintf(path, room, "%s/wasi-udp-firewall-%d", mount->mnt_dir, getpid());
  return mkdir(path, 0755);
}

/** Has the program judge what leaves the group. */
static int attach(const char *path) {
  union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_SKB,
                         .expected_attach_type = BPF_CGROUP_INET_EGRESS,
                         .insns = (unsigned long)program,
                         .insn_cnt = sizeof program / sizeof *program,
                         .license = (unsigned long)"GPL"};
  int loaded = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
  int group = open(path, O_RDONLY | O_DIRECTORY);
  if (loaded < 0 || group < 0) return -1;
  union bpf_attr attach = {.target_fd = group, .attach_bpf_fd = loaded, .attach_type = BPF_CGROUP_INET_EGRESS};
  return syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
}

static int run(const char *path, char **command) {
  char procs[600];
  snprintf(procs, sizeof procs, "%s/cgroup.procs", path);
  int file = open(procs, O_WRONLY);
  if (file < 0 || write(file, "0", 1) != 1) return refused(procs);
  close(file);
  execvp(command[0], command);
  return refused(command[0]);
}

int main(int count, char **arguments) {
  if (count < 2) return fputs("usage: firewall COMMAND ARGUMENT...\n", stderr), 2;
  char path[512];
  if (make_group(path, sizeof path) != 0) return refused("no cgroup2");
  int status = 3 << 8;
  if (attach(path) != 0) refused("no BPF program");
  else {
    // Whoever ends this process ends the command by its own means; the group goes behind it.
    signal(SIGINT, SIG_IGN);
    pid_t child = fork();
    if (child == 0) _exit(run(path, arguments + 1));
    waitpid(child, &status, 0);
  }
  rmdir(path);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}
