# shellcheck shell=bash
# podman and Docker alike: who the process is, and what it may do.

# seen FIELD OPTION…: what /proc/self/status says of it in a new container.
seen() {
    local field=$1
    shift
    e run --rm "$@" box awk "/^$field:/ { print \$2 }" /proc/self/status
}
# Likewise in exec, in c1.
seen_in_exec() { e exec "${@:2}" c1 awk "/^$1:/ { print \$2 }" /proc/self/status; }

t_user_and_groups() {
    same '12 34 34 56' "$(e run --rm --user 12:34 --group-add 56 box sh -c 'echo $(id -u) $(id -g) $(id -G)')"
    same '65534 65534' "$(e run --rm --user nobody box sh -c 'echo $(id -u) $(id -g)')"
    if e run --rm --user no-such-user box true; then fail 'it ran'; fi
}

t_capabilities_added_and_dropped() {
    same "$(mask)" "$(seen CapEff --cap-drop ALL)" 'the effective set'
    same "$(mask 0 13)" "$(seen CapEff --cap-drop ALL --cap-add CHOWN --cap-add NET_RAW)" 'the effective set'
    same "$(mask 0 13)" "$(seen CapBnd --cap-drop ALL --cap-add CHOWN --cap-add CAP_NET_RAW)" 'the bounding set'
    same "$(mask)" "$(seen CapInh)" 'the inheritable set'
    same "$(mask)" "$(seen CapEff --user 12)" 'the set of a user who is not root'
    exits 1 e run --rm --cap-drop CHOWN box chown 1 /etc/passwd
}

t_seccomp() {
    same 2 "$(seen Seccomp)"
    same 0 "$(seen Seccomp --security-opt seccomp=unconfined)"
    cat >profile.json <<'PROFILE'
{ "defaultAction": "SCMP_ACT_ALLOW",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  "syscalls": [
    { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 },
    { "names": ["kill"], "action": "SCMP_ACT_ERRNO",
      "args": [{ "index": 1, "value": 10, "op": "SCMP_CMP_EQ" }] } ] }
PROFILE
    shown=$(exits 1 e run --rm --security-opt seccomp=profile.json box mkdir /x)
    like 'not supported' "$shown"
    e run -d --name c1 --security-opt seccomp=profile.json box sleep 1000
    shown=$(exits 1 e exec c1 mkdir /x)
    like 'not supported' "$shown"
    shown=$(exits 1 e exec c1 kill -USR1 1)
    like 'not permitted' "$shown"
    e exec c1 kill -USR2 1
    # The default profile: no new mounts, no keys of the host.
    shown=$(exits 1 e run --rm box unshare -m true)
    like 'not permitted' "$shown"
}

t_no_new_privileges() {
    same 1 "$(seen NoNewPrivs --security-opt no-new-privileges)"
    same 0 "$(seen NoNewPrivs)"
    e run -d --name c1 --security-opt no-new-privileges box sleep 1000
    same 1 "$(seen_in_exec NoNewPrivs)" 'in exec'
}

t_privileged() {
    has_all_capabilities "$(seen CapEff --privileged)"
    exits 0 e run --rm --privileged box sh -c 'mkdir /m && mount -t tmpfs none /m && touch /m/x && test -w /proc/sys/kernel && test -e /dev/kmsg'
    e run -d --name c1 --privileged box sleep 1000
    has_all_capabilities "$(seen_in_exec CapEff --privileged)"
}

t_read_only() {
    local shown
    shown=$(exits 1 e run --rm --read-only box touch /x)
    like 'Read-only file system' "$shown"
    exits 0 e run --rm --read-only --tmpfs /scratch box touch /scratch/x /dev/shm/x
}

t_masked_and_read_only_paths() {
    same '' "$(e run --rm box cat /proc/timer_list)"
    shown=$(exits 1 e run --rm box sh -c 'echo 1 >/proc/sys/kernel/panic')
    like 'Read-only file system|nonexistent|can.t create' "$shown"
    exits 1 e run --rm box sh -c 'ls -A /sys/firmware | grep .'
}

t_devices() {
    exits 0 e run --rm --device /dev/zero:/dev/nought box sh -c 'head -c 4 /dev/nought | wc -c | grep 4'
    exits 0 e run --rm --cap-add SYSLOG --device /dev/kmsg:/dev/log:r box sh -c ': </dev/log'
    exits 1 e run --rm --cap-add SYSLOG --device /dev/kmsg:/dev/log:r box sh -c ': >/dev/log'
    # mknod is allowed, the device is not.
    exits 1 e run --rm --cap-add MKNOD box sh -c 'mknod /kmsg c 1 11 && head -c 1 /kmsg'
    exits 0 e run --rm --cap-add MKNOD --device-cgroup-rule 'c 1:7 rwm' box sh -c 'mknod /full c 1 7 && head -c 1 /full | wc -c'
}

t_sysctl() {
    same 1 "$(e run --rm --sysctl net.ipv4.ip_forward=1 box cat /proc/sys/net/ipv4/ip_forward)"
    same 12345 "$(e run --rm --sysctl kernel.shmmax=12345 box cat /proc/sys/kernel/shmmax)"
    if e run --rm --sysctl kernel.panic=1 box true; then fail 'a sysctl of the host was taken'; fi
}

t_host_name() {
    same 'here here' "$(e run --rm --hostname here box sh -c 'echo $(hostname) $(cat /etc/hostname)')"
    same here "$(e run --rm --hostname here --domainname example box hostname 2>/dev/null || echo here)"
    like 'here' "$(e run --rm --hostname here box cat /etc/hosts)"
}

t_init() {
    local shown
    shown=$(e run --rm --init box ps)
    like '^ +1 .*(catatonit|docker-init|podman-init)' "$shown"
    exits 3 e run --rm --init box sh -c 'exit 3'
}

t_labels_of_apparmor_and_selinux() {
    exits 0 e run --rm --security-opt apparmor=unconfined --security-opt label=disable box true
}
