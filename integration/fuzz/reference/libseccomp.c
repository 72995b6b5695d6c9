/*
 * What libseccomp makes of a profile. Reads lines of words from stdin:
 *
 *   default ACTION              the action of calls without a rule; comes first
 *   arch NAME                   one more architecture (x86_64, x86, x32, ...)
 *   only                        forgets the architecture of this machine
 *   rule ACTION NAME [ARG OP A B]...
 *   resolve ARCH NAME           prints the call's number there to stdout
 *
 * Actions are SECCOMP_RET_* in decimal, which are those of libseccomp as well.
 * With "default" it writes the program to stdout at the end, as the kernel takes
 * it; each rule that is refused gives the line "refused RULE ERRNO" on stderr.
 * Built and run by tests/libseccomp.rs; nothing else of this project uses it.
 */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static scmp_filter_ctx ctx;
static unsigned count;

static void fail(const char *what, int rc)
{
    fprintf(stderr, "%s: %s\n", what, strerror(-rc));
    exit(1);
}

static void add_rule(void)
{
    struct scmp_arg_cmp args[6];
    unsigned n = 0, rule = count++;
    uint32_t action = strtoul(strtok(NULL, " "), NULL, 10);
    int call = seccomp_syscall_resolve_name(strtok(NULL, " "));
    char *word;

    while (n < 6 && (word = strtok(NULL, " "))) {
        args[n].arg = strtoul(word, NULL, 10);
        args[n].op = strtoul(strtok(NULL, " "), NULL, 10);
        args[n].datum_a = strtoull(strtok(NULL, " "), NULL, 10);
        args[n].datum_b = strtoull(strtok(NULL, " "), NULL, 10);
        n++;
    }
    int rc = call == __NR_SCMP_ERROR ? -ENOENT : seccomp_rule_add_array(ctx, action, call, n, args);
    if (rc)
        fprintf(stderr, "refused %u %d\n", rule, -rc);
}

static void resolve(void)
{
    uint32_t arch = seccomp_arch_resolve_name(strtok(NULL, " "));

    printf("%d\n", seccomp_syscall_resolve_name_arch(arch, strtok(NULL, " ")));
}

int main(void)
{
    char line[4096];
    int rc;

    while (fgets(line, sizeof(line), stdin)) {
        line[strcspn(line, "\n")] = 0;
        char *word = strtok(line, " ");
        if (!word) {
            continue;
        } else if (!strcmp(word, "default")) {
            if (!(ctx = seccomp_init(strtoul(strtok(NULL, " "), NULL, 10))))
                fail("seccomp_init", -EINVAL);
        } else if (!strcmp(word, "arch")) {
            rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(strtok(NULL, " ")));
            if (rc && rc != -EEXIST)
                fail("seccomp_arch_add", rc);
        } else if (!strcmp(word, "only")) {
            if ((rc = seccomp_arch_remove(ctx, seccomp_arch_native())))
                fail("seccomp_arch_remove", rc);
        } else if (!strcmp(word, "rule")) {
            add_rule();
        } else if (!strcmp(word, "resolve")) {
            resolve();
        } else {
            fail(word, -EINVAL);
        }
    }
    if (ctx && (rc = seccomp_export_bpf(ctx, STDOUT_FILENO)))
        fail("seccomp_export_bpf", rc);
    return 0;
}
