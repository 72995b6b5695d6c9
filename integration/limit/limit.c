/*
 * The limit: what the fastest possible runtime costs.
 *
 *     limit [--user] [--rich] run ROOTFS
 *     limit [--rich] create DIR ROOTFS PROGRAM ARGUMENT
 *     limit start|kill|delete DIR
 *     limit [--rich] exec DIR PROGRAM
 *
 * Makes the system calls that the bundle of `spec` needs, and nothing else: no
 * configuration is read, nothing is checked twice. Namespaces pid, network, ipc,
 * uts, mount and cgroup (with --user a user namespace as well), the cgroup with
 * its device rules, the default mounts, devices, links, masked and read-only
 * paths, pivot_root, read-only root, host name, lo up, rlimit, capabilities,
 * no_new_privs, /bin/true, wait, clean-up. With --rich it is bundle R of the
 * benchmarks: the capabilities that Docker leaves, a seccomp filter of the real
 * length, more masked paths, four bind mounts (from DIR-independent /etc).
 *
 * `create` leaves in DIR what `start`, `exec` and `delete` need: a pid, and the
 * socket on which the process waits. The cgroup has the name of DIR.
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
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
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
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
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
static int rich;
static char present[COUNT(v1)];
static int pure_v2;

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
    close(fd);
}

/* --- cgroups ------------------------------------------------------------ */

static int device_rules_v2(int cgroup) {
    /* The default devices 1:3, 1:5, 1:7, 1:8, 1:9, 5:0, 5:2, 136:*, as short as can be. */
#define LOAD(r, o) {.code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = r, .src_reg = 1, .off = o}
#define IF(op, r, v, to) {.code = BPF_JMP32 | op | BPF_K, .dst_reg = r, .imm = v, .off = to}
    struct bpf_insn insns[] = {
        LOAD(2, 0), LOAD(3, 4), LOAD(4, 8),
        {.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = 2, .imm = 0xffff},
        IF(BPF_JNE, 2, BPF_DEVCG_DEV_CHAR, 10),
        IF(BPF_JEQ, 3, 136, 11),
        IF(BPF_JNE, 3, 1, 5),
        IF(BPF_JEQ, 4, 3, 9), IF(BPF_JEQ, 4, 5, 8), IF(BPF_JEQ, 4, 7, 7), IF(BPF_JEQ, 4, 8, 6), IF(BPF_JEQ, 4, 9, 5),
        IF(BPF_JNE, 3, 5, 2),
        IF(BPF_JEQ, 4, 0, 3), IF(BPF_JEQ, 4, 2, 2),
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0},
        {.code = BPF_JMP | BPF_EXIT},
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
    static const char *const more[] = {"/proc/interrupts", "/sys/devices/virtual/powercap"};
    struct stat st;
    for (size_t i = 0; i < COUNT(readonly); i++) {
        if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
        MUST(mount(NULL, readonly[i], NULL,
                   MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL));
    }
    for (size_t i = 0; i < COUNT(masked) + (rich ? COUNT(more) : 0); i++) {
        const char *path = i < COUNT(masked) ? masked[i] : more[i - COUNT(masked)];
        if (stat(path, &st) < 0) continue;
        if (S_ISDIR(st.st_mode))
            MUST(mount("tmpfs", path, "tmpfs", MS_RDONLY, NULL));
        else
            MUST(mount("/dev/null", path, NULL, MS_BIND, NULL));
    }
}

/* What bundle R binds; the sources are the host's, in place of files made for it. */
static void binds(void) {
    static const char *const pairs[][2] = {{"/etc/hostname", "etc/hostname"},
                                           {"/etc/hosts", "etc/hosts"},
                                           {"/etc/resolv.conf", "etc/resolv.conf"},
                                           {"/tmp", "data"}};
    for (size_t i = 0; rich && i < COUNT(pairs); i++) {
        MUST(mount(pairs[i][0], pairs[i][1], NULL, MS_BIND | MS_REC, NULL));
        MUST(mount(NULL, pairs[i][1], NULL, MS_PRIVATE | MS_REC, NULL));
    }
}

/* As many instructions as a profile like Docker's takes, all of which the kernel checks and compiles. */
static void filter(void) {
    static struct sock_filter words[303];
    size_t n = COUNT(words);
    for (size_t i = 0; i < n; i++)
        words[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 100000 + i, 0, 0);
    words[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    words[1] = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA, n - 3);
    words[n - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, words};
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

static void lo_up(void) {
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    MUST(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

static void privileges(void) {
    uint64_t caps = 1ull << CAP_AUDIT_WRITE | 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE;
    if (rich)
        caps |= 1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_FSETID | 1ull << CAP_FOWNER |
                1ull << CAP_MKNOD | 1ull << CAP_NET_RAW | 1ull << CAP_SETGID | 1ull << CAP_SETUID |
                1ull << CAP_SETFCAP | 1ull << CAP_SETPCAP | 1ull << CAP_SYS_CHROOT;
    struct rlimit files = {1024, 1024};
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (!(caps >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0 && errno != EINVAL) die("capbset");
    if (rich) filter();
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{caps, caps, 0}, {caps >> 32, caps >> 32, 0}};
    MUST(syscall(SYS_capset, &header, data));
    if (!rich) MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static char **program;
static char *truth[] = {"/bin/true", NULL};

static void execute(void) {
    char *env[] = {"PATH=/bin", "TERM=xterm", NULL};
    execve(program[0], program, env);
    die("execve");
}

/* `waits` is the socket on which `start` connects; `ready` says that all is set up. */
static void inside(const char *rootfs, int user, int go, int waits, int ready) {
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
    binds();
    devices(user);
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    MUST(chdir("/"));
    hide();
    MUST(mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    MUST(sethostname("limit", 5));
    lo_up();
    if (waits >= 0) {
        MUST(write(ready, "r", 1));
        MUST(accept4(waits, NULL, NULL, SOCK_CLOEXEC));
    }
    privileges();
    execute();
}

/* --- commands ----------------------------------------------------------- */

static pid_t launch(const char *rootfs, int user, int waits, int ready) {
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
    if (pid == 0) inside(rootfs, user, go[0], waits, ready);
    join_cgroup(pid);
    if (user) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
        put(path, "0 0 65536");
        snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
        put(path, "0 0 65536");
    }
    MUST(write(go[1], "g", 1));
    return pid;
}

static int await(pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int run(const char *rootfs, int user) {
    snprintf(name, sizeof name, "limit-%d", getpid());
    int status = await(launch(rootfs, user, -1, -1));
    remove_cgroup();
    return status;
}

static struct sockaddr_un address(const char *dir) {
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    snprintf(place.sun_path, sizeof place.sun_path, "%s/start", dir);
    return place;
}

static int create(const char *dir, const char *rootfs) {
    char path[160], text[16];
    struct sockaddr_un place = address(dir);
    int waits = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), ready[2];
    MUST(mkdir(dir, 0700));
    MUST(bind(waits, (void *)&place, sizeof place));
    MUST(listen(waits, 1));
    MUST(pipe2(ready, O_CLOEXEC));
    pid_t pid = launch(rootfs, 0, waits, ready[1]);
    close(ready[1]);
    if (read(ready[0], text, 1) != 1) die("the container's init");
    snprintf(path, sizeof path, "%s/pid", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    MUST(fd);
    MUST(write(fd, text, snprintf(text, sizeof text, "%d", pid)));
    return 0;
}

static pid_t pid_of(const char *dir) {
    char path[160], text[16] = "";
    snprintf(path, sizeof path, "%s/pid", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    MUST(fd);
    MUST(read(fd, text, sizeof text - 1));
    close(fd);
    return atoi(text);
}

static int start(const char *dir) {
    char byte;
    struct sockaddr_un place = address(dir);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    MUST(connect(fd, (void *)&place, sizeof place));
    /* Its end is the other side's execve. */
    MUST(read(fd, &byte, 1));
    MUST(unlink(place.sun_path));
    return 0;
}

static int execute_more(const char *dir) {
    char path[160];
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s", name);
    struct statfs fs;
    MUST(statfs("/sys/fs/cgroup", &fs));
    pure_v2 = fs.f_type == CGROUP2_MAGIC;
    int cgroup = pure_v2 ? open(path, O_DIRECTORY | O_CLOEXEC | O_PATH) : 0;
    int procs[COUNT(v1)];
    for (size_t i = 0; !pure_v2 && i < COUNT(v1); i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s/cgroup.procs", v1[i], name);
        procs[i] = open(path, O_WRONLY | O_CLOEXEC);
    }
    int init = syscall(SYS_pidfd_open, pid_of(dir), 0), go[2];
    MUST(init);
    MUST(pipe2(go, O_CLOEXEC));
    MUST(setns(init, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWCGROUP));
    struct clone_args args = {.flags = pure_v2 ? CLONE_INTO_CGROUP : 0, .exit_signal = SIGCHLD, .cgroup = cgroup};
    pid_t pid = syscall(SYS_clone3, &args, sizeof args);
    MUST(pid);
    if (pid == 0) {
        char byte;
        MUST(read(go[0], &byte, 1));
        privileges();
        execute();
    }
    for (size_t i = 0; !pure_v2 && i < COUNT(v1); i++)
        if (procs[i] >= 0) dprintf(procs[i], "%d", pid);
    MUST(write(go[1], "g", 1));
    return await(pid);
}

/* Of a container whose process has ended. */
static int delete(const char *dir) {
    char path[160];
    struct statfs fs;
    MUST(statfs("/sys/fs/cgroup", &fs));
    pure_v2 = fs.f_type == CGROUP2_MAGIC;
    pid_of(dir);
    for (size_t i = 0; !pure_v2 && i < COUNT(v1); i++) {
        snprintf(path, sizeof path, "/sys/fs/cgroup/%s/%s", v1[i], name);
        rmdir(path);
    }
    if (pure_v2) remove_cgroup();
    unlink(address(dir).sun_path);
    snprintf(path, sizeof path, "%s/pid", dir);
    MUST(unlink(path));
    return rmdir(dir);
}

static int end(const char *dir) {
    pid_t pid = pid_of(dir);
    int fd = syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0) return 0;
    MUST(kill(pid, SIGKILL));
    struct pollfd gone = {fd, POLLIN, 0};
    return poll(&gone, 1, 5000) == 1 ? 0 : 1;
}

int main(int argc, char **argv) {
    int user = 0;
    for (argv++; argc > 1 && **argv == '-'; argc--, argv++) {
        user |= !strcmp(*argv, "--user");
        rich |= !strcmp(*argv, "--rich");
    }
    program = truth;
    if (argc < 3) {
        fprintf(stderr, "usage: limit [--user] [--rich] run ROOTFS | create DIR ROOTFS PROGRAM... | start DIR | "
                        "exec DIR PROGRAM... | kill DIR | delete DIR\n");
        return 2;
    }
    const char *base = strrchr(argv[1], '/');
    snprintf(name, sizeof name, "%s", base ? base + 1 : argv[1]);
    if (!strcmp(*argv, "run")) return run(argv[1], user);
    if (!strcmp(*argv, "start")) return start(argv[1]);
    if (!strcmp(*argv, "kill")) return end(argv[1]);
    if (!strcmp(*argv, "delete")) return delete(argv[1]);
    int create_it = !strcmp(*argv, "create");
    if (argc > 3 + create_it) program = argv + 2 + create_it;
    return create_it ? create(argv[1], argv[2]) : execute_more(argv[1]);
}
