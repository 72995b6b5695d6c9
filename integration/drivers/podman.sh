# shellcheck shell=bash
# podman with storage, network and runtime of its own: everything is said in two
# configuration files, as docs/drivers.md shows them.

parts=(engine_run.sh engine_life.sh engine_limits.sh engine_security.sh engine_space.sh podman_more.sh)
programs=(podman conmon python3)
quick=(run_exit_status run_detached_and_logs run_terminal exec exec_terminal stop_by_sigterm
    pause_and_unpause memory_limit command_not_found pod)

export CONTAINERS_CONF=${BASE:-}/containers.conf CONTAINERS_STORAGE_CONF=${BASE:-}/storage.conf
export CONTAINERS_REGISTRIES_CONF=${BASE:-}/registries.conf HOME=${BASE:-}/home
engine=(podman)
e() { "${engine[@]}" "$@"; }
build() { e build "$@"; }

# podman's own timers are systemd's; without it the check is run by hand.
health_becomes() {
    soon 20 eval 'e healthcheck run c1 || true; [ "$(field c1 State.Health.Status)" = '"$1"' ] || [ "$(field c1 State.Healthcheck.Status)" = '"$1"' ]'
}

podman_up() {
    mkdir -p "$HOME" "$BASE/networks"
    cat >"$CONTAINERS_CONF" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "under-test"
runtime_supports_json = ["under-test"]
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "$BASE/tmp"
[engine.runtimes]
under-test = ["$RUNTIME"]
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
    tar -C "$DIR/rootfs" -c . | e import --change 'ENV PATH=/bin' - box
}

podman_down() {
    e stop -a -t 0
    e rm -f -a -t 0
    umount "$BASE"/storage/overlay 2>/dev/null || true
}

podman_clean() {
    e pod rm -f -a -t 0
    e rm -f -a -t 0
    e volume prune -f
    e network prune -f
}
