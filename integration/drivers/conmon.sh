# shellcheck shell=bash
# conmon alone, called as podman and CRI-O call it: it creates the container,
# owns its stdio or its terminal, and writes its log and its exit status.

parts=()
programs=(conmon python3)
quick=(run_exit_status terminal exec)

r() { "$RUNTIME" --root "$WORK/root" "$@"; }

conmon_up() { :; }
conmon_down() { :; }
conmon_clean() {
    local state
    for state in "$BASE"/work/root/*/; do
        [ -d "$state" ] || continue
        "$RUNTIME" --root "$BASE/work/root" delete --force "$(basename "$state")"
    done
}

# bundle TERMINAL COMMAND…: ./bundle, of the runtime's own spec.
bundle() {
    mkdir -p bundle
    r spec --bundle bundle 2>/dev/null || "$RUNTIME" spec --bundle bundle
    python3 - "$DIR/rootfs" "$@" <<'PY'
import json, sys
rootfs, terminal, *command = sys.argv[1:]
config = json.load(open("bundle/config.json"))
config["root"]["path"] = rootfs
config["process"].update(terminal=terminal == "true", args=command, env=["PATH=/bin"])
config["process"].pop("rlimits", None)
json.dump(config, open("bundle/config.json", "w"))
PY
}

# monitor [OPTION…]: ./exits/c1 will have the status, ./log the output, ./pid the pid.
monitor() {
    watch "$@"
    soon 10 test -s pid
}

watch() {
    mkdir -p exits persist
    conmon --cid c1 --cuuid c1 --name c1 --runtime "$RUNTIME" --runtime-arg=--root="$WORK/root" --bundle "$WORK/bundle" \
        --container-pidfile "$WORK/pid" --conmon-pidfile "$WORK/conmon.pid" --exit-dir "$WORK/exits" --persist-dir "$WORK/persist" \
        --log-path "k8s-file:$WORK/log" --log-level warning --socket-dir-path "$WORK" --api-version 1 "$@" </dev/null >conmon.out 2>&1
}

ended() {
    soon 20 test -e "exits/$1"
    cat "exits/$1"
}

t_run_exit_status() {
    bundle false sh -c 'echo out; echo err >&2; exit 7'
    monitor
    r start c1
    same 7 "$(ended c1)" 'the exit status'
    like 'stdout F out' "$(cat log)"
    like 'stderr F err' "$(cat log)"
    r delete c1
}

t_terminal() {
    bundle true sh -c 'tty; exit 5'
    monitor --terminal
    r start c1
    same 5 "$(ended c1)" 'the exit status'
    like 'stdout F /dev/pts/0' "$(tr -d '\r' <log)"
    r delete c1
}

t_killed() {
    bundle false sleep 1000
    monitor
    r start c1
    r kill c1 KILL
    same 137 "$(ended c1)" 'the exit status'
    r delete c1
}

t_create_that_fails() {
    bundle false no-such-command
    local shown
    # What the runtime says comes back to conmon's caller through this pipe.
    _OCI_SYNCPIPE=3 watch 3>told || true
    soon 10 eval 'grep -q "executable file not found in .PATH" told'
    [ ! -s pid ]
    shown=$(exits 1 r state c1)
    has 'does not exist' "$shown"
}

# process COMMAND…: process.json for exec.
process() {
    python3 - "$@" <<'PY'
import json, sys
process = json.load(open("bundle/config.json"))["process"]
process["args"] = sys.argv[1:]
json.dump(process, open("process.json", "w"))
PY
}

t_exec() {
    bundle false sleep 1000
    monitor
    r start c1
    process sh -c 'echo from exec; exit 9'
    mkdir -p exec
    conmon --cid c1 --cuuid e1 --name c1 --runtime "$RUNTIME" --runtime-arg=--root="$WORK/root" --bundle "$WORK/bundle" \
        --container-pidfile "$WORK/exec/pid" --exit-dir "$WORK/exec" --log-path "k8s-file:$WORK/exec/log" \
        --socket-dir-path "$WORK/exec" --api-version 1 --exec --exec-process-spec "$WORK/process.json" </dev/null >exec/out 2>&1
    soon 20 test -f exec/e1 -o -f exec/c1
    same 9 "$(cat exec/e1 exec/c1 2>/dev/null || true)" 'the exit status'
    like 'from exec' "$(cat exec/log)"
    r delete --force c1
}

t_exit_command() {
    bundle false true
    monitor --exit-command /bin/touch --exit-command-arg "$WORK/was-called"
    r start c1
    soon 20 test -e was-called
    r delete c1
}

t_out_of_memory_is_told() {
    bundle false sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); echo $x | wc -c'
    python3 - <<'PY'
import json
config = json.load(open("bundle/config.json"))
config["linux"]["resources"]["memory"] = {"limit": 16 << 20, "swap": 16 << 20}
json.dump(config, open("bundle/config.json", "w"))
PY
    monitor
    r start c1
    same 137 "$(ended c1)" 'the exit status'
    test -e persist/oom || test -e bundle/oom || test -e oom
    r delete c1
}
