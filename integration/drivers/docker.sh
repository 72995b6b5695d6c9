# shellcheck shell=bash
# Docker with a daemon, and containerd below it, of its own; the runtime is the
# daemon's default, as docs/drivers.md shows it.

parts=(engine_run.sh engine_life.sh engine_limits.sh engine_security.sh engine_space.sh docker_more.sh)
programs=(dockerd /usr/bin/docker containerd iptables python3)
quick=(run_exit_status run_detached_and_logs run_terminal exec exec_terminal stop_by_sigterm
    pause_and_unpause memory_limit command_not_found restart_on_failure)

# Debian's client: another may be in the PATH, and speak a newer protocol only.
export DOCKER_HOST=unix://${BASE:-}/docker.sock HOME=${BASE:-}/home DOCKER_BUILDKIT=0
engine=(/usr/bin/docker)
e() { "${engine[@]}" "$@"; }
build() { e build "$@"; }

health_becomes() {
    soon 20 eval '[ "$(field c1 State.Health.Status)" = '"$1"' ]'
}

# daemon DIRECTORY SOCKET [OPTION…]: starts one, by the command `before` if there is
# one, and waits until it answers.
before=()
daemon() {
    local at=$1 socket=$2
    shift 2
    mkdir -p "$at"
    printf '{"runtimes": {"under-test": {"path": "%s"}}, "default-runtime": "under-test"}\n' "$RUNTIME" >"$at/daemon.json"
    setsid "${before[@]}" dockerd --config-file "$at/daemon.json" --host "unix://$socket" --data-root "$at/data" \
        --exec-root "$at/exec" --pidfile "$at/pid" --exec-opt native.cgroupdriver=cgroupfs \
        --storage-driver "$(docker_storage)" "$@" >"$at/log" 2>&1 </dev/null &
    if ! DOCKER_HOST=unix://$socket soon 40 eval '"${engine[@]}" info >/dev/null 2>&1'; then
        tail -n 30 "$at/log"
        return 1
    fi
}

docker_storage() {
    case $(storage_driver) in overlay) echo overlay2 ;; *) echo vfs ;; esac
}

docker_up() {
    mkdir -p "$HOME"
    daemon "$BASE/d" "$BASE/docker.sock"
    tar -C "$DIR/rootfs" -c . | e import --change 'ENV PATH=/bin' - box
}

docker_down() {
    local pid
    pid=$(cat "$BASE/d/pid")
    kill "$pid"
    soon 20 eval '! kill -0 '"$pid"' 2>/dev/null'
}

docker_clean() {
    e ps -aq | xargs -r "${engine[@]}" rm -f >/dev/null
    e volume prune -f >/dev/null
    e network prune -f >/dev/null
}
