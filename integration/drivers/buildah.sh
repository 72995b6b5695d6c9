# shellcheck shell=bash
# buildah with storage of its own; RUN and `buildah run` go through the runtime
# where the isolation is `oci`.

parts=()
programs=(buildah python3)
quick=(run_exit_status run_terminal build)

export CONTAINERS_CONF=${BASE:-}/containers.conf CONTAINERS_STORAGE_CONF=${BASE:-}/storage.conf
export CONTAINERS_REGISTRIES_CONF=${BASE:-}/registries.conf HOME=${BASE:-}/home
export BUILDAH_RUNTIME=${RUNTIME:-} BUILDAH_ISOLATION=oci
b() { buildah "$@"; }
build() { b bud --network none "$@"; }

buildah_up() {
    local new
    mkdir -p "$HOME" "$BASE/networks"
    cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
[network]
network_backend = "netavark"
network_config_dir = "$BASE/networks"
CONF
    cat >"$CONTAINERS_STORAGE_CONF" <<CONF
[storage]
driver = "$(storage_driver)"
graphroot = "$BASE/storage"
runroot = "$BASE/run"
CONF
    echo 'unqualified-search-registries = []' >"$CONTAINERS_REGISTRIES_CONF"
    new=$(b from scratch)
    b add "$new" "$DIR/rootfs" /
    b config --env PATH=/bin --cmd sh "$new"
    b commit --rm "$new" box
}

buildah_down() {
    b rm --all
    umount "$BASE/storage/overlay" 2>/dev/null || true
}

buildah_clean() { b rm --all >/dev/null; }

t_run_exit_status() {
    local c
    c=$(b from box)
    exits 0 b run "$c" true
    exits 7 b run "$c" sh -c 'exit 7'
    same 'in' "$(echo in | b run "$c" cat)"
}

t_run_streams() {
    local c
    c=$(b from box)
    b run "$c" sh -c 'echo out; echo err >&2' >out 2>err
    same out "$(cat out)"
    has err "$(cat err)"
}

t_run_terminal() {
    local c shown
    c=$(b from box)
    shown=$(pty buildah run --tty "$c" sh -c 'tty; sleep 1; stty size')
    has /dev/pts/0 "$shown"
    has '31 97' "$shown"
}

t_command_not_found() {
    local c shown
    c=$(b from box)
    shown=$(b run "$c" no-such-command 2>&1) && fail 'it ran'
    like 'executable file not found in \$PATH' "$shown"
    shown=$(b run "$c" /etc/passwd 2>&1) && fail 'it ran'
    like '[Pp]ermission denied' "$shown"
}

t_user_workdir_env_and_host_name() {
    local c
    c=$(b from box)
    same '12 34 /tmp x here' "$(b run --user 12:34 --workingdir /tmp --env A=x --hostname here "$c" sh -c 'echo $(id -u) $(id -g) $(pwd) $A $(hostname)')"
}

t_capabilities() {
    local c had
    c=$(b from box)
    had=$(b run --cap-add CAP_SYS_ADMIN "$c" awk '/CapEff/ { print $2 }' /proc/self/status)
    same 1 $((16#$had >> 21 & 1)) 'CAP_SYS_ADMIN'
    exits 1 b run --cap-drop CAP_CHOWN "$c" chown 1 /etc/passwd
}

t_volumes_and_mounts() {
    local c
    c=$(b from box)
    mkdir shared
    echo in >shared/file
    same in "$(b run --volume "$WORK/shared:/data:ro" "$c" cat /data/file)"
    exits 1 b run --volume "$WORK/shared:/data:ro" "$c" touch /data/new
    like tmpfs "$(b run --mount type=tmpfs,destination=/t "$c" grep ' /t ' /proc/mounts)"
}

t_namespaces() {
    local c
    c=$(b from box)
    same 1 "$(b run "$c" sh -c 'echo $$')"
    same lo "$(b run --network none "$c" ls /sys/class/net)"
    same "$(readlink /proc/self/ns/net)" "$(b run --network host "$c" readlink /proc/self/ns/net)"
    same "$(readlink /proc/self/ns/ipc)" "$(b run --ipc host "$c" readlink /proc/self/ns/ipc)"
}

t_network() {
    local c
    c=$(b from box)
    like eth0 "$(b run "$c" ls /sys/class/net)"
}

t_build() {
    mkdir context
    echo content >context/file
    cat >context/Dockerfile <<'FILE'
FROM box
COPY file /file
RUN echo built >/built && test -s /file
USER 12:34
RUN id -u >/tmp/user
WORKDIR /tmp
FILE
    build -t made context
    local c
    c=$(b from made)
    same 'built 12 content' "$(b run "$c" sh -c 'echo $(cat /built /tmp/user /file)')"
    printf 'FROM box\nRUN exit 9\n' >context/Dockerfile
    shown=$(build -t bad context 2>&1) && fail 'it was built'
    like 'exit status 9' "$shown"
}

t_build_with_limits_and_seccomp() {
    mkdir context
    cat >context/Dockerfile <<'FILE'
FROM box
RUN grep -q 'Seccomp:.2' /proc/self/status
RUN test "$(ulimit -n)" = 77
RUN test "$(cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max)" -le 67108864
FILE
    build --ulimit nofile=77:88 --memory 64m -t made context
}

t_build_with_user_namespace() {
    mkdir context
    printf 'FROM box\nRUN cat /proc/self/uid_map | grep 1000000\n' >context/Dockerfile
    build --userns-uid-map 0:1000000:65536 --userns-gid-map 0:1000000:65536 -t made context
}

t_commit() {
    local c
    c=$(b from box)
    b run "$c" sh -c 'echo new >/added'
    b commit "$c" made
    c=$(b from made)
    same new "$(b run "$c" cat /added)"
}
