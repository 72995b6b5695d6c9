/*
 * The limit: what the fastest possible `run` of the default bundle costs.
 *
 *     limit [--user] ROOTFS
 *
 * Makes the system calls that the bundle of `spec` needs, and nothing else: no
 * configuration is read, nothing is checked twice, no state is kept. Namespaces
 * pid, network, ipc, uts, mount and cgroup (with --user a user namespace as
 * well), the cgroup with its device rules, the default mounts, devices, links,
 * masked and read-only paths, pivot_root, read-only root, host name, lo up,
 * rlimit, capabilities, no_new_privs, /bin/true, wait, clean-up.
 *
 * On cgroup v1 or hybrid it makes a directory in every hierarchy and writes
 * cgroup.procs; on a pure v2 it joins with CLONE_INTO_CGROUP. A runtime is
 * measured against it by scripts/bench.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUP2_MAGIC 0x63677270
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void die(const char *what) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(errno));
    _exit(125);
}
#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) die(#call);                                                                \
    } while (0)

static const char *const v1[] = {"cpu",     "cpuacct", "cpuset", "memory",  "devices",
                                 "freezer", "blkio",   "pids",   "systemd", "unified"};
static char name[64];
static char present[COUNT(v1)];
static int pure_v2;

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
    close(fd);
}

/* --- cgroups ------------------------------------------------------------ */

static int device_rules_v2(int cgroup) {
    /* One program that denies everything but the default devices: a stand-in of the real length. */
    struct bpf_insn insns[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
                           .insns = (uintptr_t)insns,
                           .insn_cnt = COUNT(insns),
                           .license = (uintptr_t) "Apache-2.0"};
    int prog = syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load);
    if (prog < 0) return -1;
    union bpf_attr attach = {.target_fd = cgroup,
                             .attach_bpf_fd = prog,
                             .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    return syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach);
}

static void device_rules_v1(void) {
    static const char *const rules[] = {"c *:* m",   "b *:* m",   "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm",
                                        "c 1:8 rwm", "c 1:9 rwm", "c 5:0 rwm", "c 5:2 rwm", "c 136:* rwm"};
    char path[160];
    snprintf(path, sizeof path, "/sys/fs/cgroup/devices/%s/devices.deny", name);
    put(path, "a");
    snprintf(path, sizeof path, "/sys/fs/cgroup/devices/%s/devices.allow", name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < COUNT(rules); i++) MUST(write(fd, rules[i], strlen(rules[i])));
    close(fd);
}

/* cpuset on v1 has no inheritance: an empty one takes no process. */
static void inherit_cpuset(void) {
    static const char *const files[] = {"cpuset.cpus", "cpuset.mems"};
    char from[160], to[160], text[256];
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(from, sizeof from, "/sys/fs/cgroup/cpuset/%s", files[i]);
        snprintf(to, sizeof to, "/sys/fs/cgroup/cpuset/%s/%s", name, files[i]);
        int fd = open(from, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n < 0) die(from);
        text[n] = 0;
        put(to, text);
    }
}

static int make_cgroup(void) {
    char path[128];
    struct statfs fs;
    MUST(statfs("/sys/fs/cgroup", &fs));
    pure_v2 = fs.f_type == CGROUP2_MAGIC;
    if (pure_v2) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", name);
        MUST(mkdir(path, 0755));
        int fd = open(path, O_DIRECTORY | O_CLOEXEC | O_PATH);
        if (fd < 0) die(path);
        int rules = open(path, O_DIRECTORY | O_CLOEXEC);
        MUST(device_rules_v2(rules));
        close(rules);
        return fd;
    }
    for (size_t i = 0; i < COUNT(v1); i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", v1[i], name);
        present[i] = mkdir(path, 0755) == 0;
        if (!present[i] && errno != ENOENT) die(path);
    }
    if (present[2]) inherit_cpuset();
    if (present[4]) device_rules_v1();
    return -1;
}

static void join_cgroup(pid_t pid) {
    char path[160], text[16];
    snprintf(text, sizeof text, "%d", pid);
    for (size_t i = 0; !pure_v2 && i < COUNT(v1); i++) {
        if (!present[i]) continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s/cgroup.procs", v1[i], name);
        put(path, text);
    }
}

static void remove_cgroup(void) {
    char path[128];
    if (pure_v2) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s", name);
        MUST(rmdir(path));
    }
    for (size_t i = 0; i < COUNT(v1); i++) {
        if (!present[i]) continue;
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", v1[i], name);
        MUST(rmdir(path));
    }
}

/* --- inside ------------------------------------------------------------- */

static void cgroup_mounts(void) {
    const unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME;
    if (pure_v2) {
        MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", flags | MS_RDONLY, NULL));
        return;
    }
    MUST(mount("tmpfs", "sys/fs/cgroup", "tmpfs", flags, "mode=755"));
    for (size_t i = 0; i < COUNT(v1); i++) {
        char target[64];
        if (!present[i]) continue;
        snprintf(target, sizeof target, "sys/fs/cgroup/%s", v1[i]);
        MUST(mkdir(target, 0755));
        if (!strcmp(v1[i], "unified"))
            MUST(mount("cgroup2", target, "cgroup2", flags | MS_RDONLY, NULL));
        else
            MUST(mount("cgroup", target, "cgroup", flags | MS_RDONLY,
                       !strcmp(v1[i], "systemd") ? "none,name=systemd" : v1[i]));
    }
    MUST(mount(NULL, "sys/fs/cgroup", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | flags, NULL));
}

static void mounts(void) {
    const unsigned long none = MS_NOSUID | MS_NOEXEC | MS_NODEV;
    MUST(mount("proc", "proc", "proc", 0, NULL));
    MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"));
    MUST(mkdir("dev/pts", 0755));
    MUST(mkdir("dev/shm", 0755));
    MUST(mkdir("dev/mqueue", 0755));
    MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620,gid=5"));
    MUST(mount("shm", "dev/shm", "tmpfs", none, "mode=1777,size=65536k"));
    MUST(mount("mqueue", "dev/mqueue", "mqueue", none, NULL));
    MUST(mount("sysfs", "sys", "sysfs", none | MS_RDONLY, NULL));
    cgroup_mounts();
}

static void devices(int user) {
    static const struct {
        const char *path, *host;
        int major, minor;
    } nodes[] = {{"dev/null", "/dev/null", 1, 3},   {"dev/zero", "/dev/zero", 1, 5},
                 {"dev/full", "/dev/full", 1, 7},   {"dev/random", "/dev/random", 1, 8},
                 {"dev/urandom", "/dev/urandom", 1, 9}, {"dev/tty", "/dev/tty", 5, 0}};
    for (size_t i = 0; i < COUNT(nodes); i++) {
        if (user) {
            MUST(mknod(nodes[i].path, S_IFREG | 0666, 0));
            MUST(mount(nodes[i].host, nodes[i].path, NULL, MS_BIND, NULL));
        } else {
            MUST(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
        }
    }
    MUST(symlink("/proc/self/fd", "dev/fd"));
    MUST(symlink("/proc/self/fd/0", "dev/stdin"));
    MUST(symlink("/proc/self/fd/1", "dev/stdout"));
    MUST(symlink("/proc/self/fd/2", "dev/stderr"));
    MUST(symlink("/proc/kcore", "dev/core"));
    MUST(symlink("pts/ptmx", "dev/ptmx"));
}

static void pivot(const char *rootfs) {
    MUST(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
    MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    MUST(chdir(rootfs));
}

static void hide(void) {
    static const char *const masked[] = {"/proc/acpi",       "/proc/asound",      "/proc/kcore",
                                         "/proc/keys",       "/proc/latency_stats", "/proc/timer_list",
                                         "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                                         "/proc/scsi"};
    static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                           "/proc/sysrq-trigger"};
    struct stat st;
    for (size_t i = 0; i < COUNT(readonly); i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
        MUST(mount(NULL, readonly[i], NULL,
                   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    }
    for (size_t i = 0; i < COUNT(masked); i++) {
        if (stat(masked[i], &st) < 0) continue;
        if (S_ISDIR(st.st_mode))
            MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
        else
            MUST(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
    }
}

static void lo_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

static void privileges(void) {
    const uint64_t caps = 1ull << CAP_AUDIT_WRITE | 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE;
    struct rlimit files = {1024, 1024};
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (!(caps >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL) die("capbset");
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{caps, caps, 0}, {caps >> 32, caps >> 32, 0}};
    MUST(syscall(SYS_capset, &header, data));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static int inside(const char *rootfs, int user, int go) {
    char byte;
    if (read(go, &byte, 1) != 1) _exit(125);
    if (user) {
        MUST(setresgid(0, 0, 0));
        MUST(setresuid(0, 0, 0));
    }
    MUST(unshare(CLONE_NEWCGROUP));
    MUST(setsid());
    pivot(rootfs);
    mounts();
    devices(user);
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(chdir("/"));
    hide();
    MUST(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    MUST(sethostname("limit", 5));
    lo_up();
    privileges();
    char *argv[] = {"true", NULL}, *env[] = {"PATH=/bin", "TERM=xterm", NULL};
    execve("/bin/true", argv, env);
    die("execve /bin/true");
    return 125;
}

/* ------------------------------------------------------------------------ */

int main(int argc, char **argv) {
    int user = argc == 3 && !strcmp(argv[1], "--user");
    if (argc != 2 + user) {
        fprintf(stderr, "usage: limit [--user] ROOTFS\n");
        return 2;
    }
    snprintf(name, sizeof name, "limit-%d", getpid());
    int go[2], cgroup = make_cgroup();
    MUST(pipe2(go, O_CLOEXEC));
    struct clone_args args = {
        .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS |
                 (user ? CLONE_NEWUSER : 0) | (pure_v2 ? CLONE_INTO_CGROUP : 0),
        .exit_signal = SIGCHLD,
        .cgroup = pure_v2 ? cgroup : 0,
    };
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    MUST(pid);
    if (pid == 0) return inside(argv[1 + user], user, go[0]);

    join_cgroup(pid);
    if (user) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        put(path, "0 0 65536");
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        put(path, "0 0 65536");
    }
    MUST(write(go[1], "g", 1));
    int status;
    MUST(waitpid(pid, &status, 0));
    remove_cgroup();
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
