# shellcheck shell=bash
# containerd with a daemon of its own, driven by ctr: its shim for runc calls the
# runtime by --runc-binary. Snapshots are plain copies: `native` works everywhere.

parts=()
programs=(containerd ctr python3)
quick=(run_exit_status exec signals pause_and_resume metrics)

export CONTAINERD_ADDRESS=${BASE:-}/sock CONTAINERD_SNAPSHOTTER=native
image=local/box:latest

k() { ctr "$@"; }
# run OPTION… IMAGE ID COMMAND…
run() {
    k run --runtime io.containerd.runc.v2 --runc-binary "$RUNTIME" "$@"
}
# ex ID EXEC-ID [OPTION…] SCRIPT. ctr gives up streams that it has not opened
# yet when the process ends, so that each lingers.
ex() {
    local id=$1 exec_id=$2 script=${*: -1}
    shift 2
    k task exec --exec-id "$exec_id" "${@:1:$#-1}" "$id" sh -c "$script; s=\$?; sleep 0.3; exit \$s"
}
status_of() { k task ls | awk -v id="$1" '$1 == id { print $3 }'; }
task_is() { [ "$(status_of "$1")" = "$2" ]; }
pid_of() { k task ls | awk -v id="$1" '$1 == id { print $2 }'; }

containerd_up() {
    local at=$BASE
    mkdir -p "$at"
    cat >"$at/config.toml" <<CONF
version = 2
root = "$at/root"
state = "$at/state"
[grpc]
address = "$at/sock"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "local/box:latest"
disable_tcp_service = true
stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
conf_dir = "$at/cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
default_runtime_name = "under-test"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test.options]
BinaryName = "$RUNTIME"
CONF
    setsid containerd --config "$at/config.toml" >"$at/log" 2>&1 </dev/null &
    echo $! >"$at/pid"
    soon 30 eval 'ctr version >/dev/null 2>&1'
    "$here/oci-archive" "$DIR/rootfs" "$image" "$at/image.tar"
    k image import "$at/image.tar"
    k --namespace k8s.io image import "$at/image.tar"
}

containerd_down() {
    local pid
    pid=$(cat "$BASE/pid")
    kill "$pid"
    soon 20 eval '! kill -0 '"$pid"' 2>/dev/null'
}

containerd_clean() {
    local id
    for id in $(k task ls -q); do
        k task resume "$id" 2>/dev/null || true
        k task delete --force "$id" || true
    done
    for id in $(k container ls -q); do k container delete "$id"; done
}

t_run_exit_status() {
    exits 0 run --rm $image c1 true
    exits 7 run --rm $image c2 sh -c 'exit 7'
}

t_run_streams() {
    run --rm $image c1 sh -c 'echo out; echo err >&2' >out 2>err
    same out "$(cat out)"
    same err "$(cat err)"
}

t_run_terminal() {
    local shown
    shown=$(exits 5 pty ctr run --rm --tty --runc-binary "$RUNTIME" $image c1 sh -c 'tty; sleep 1; stty size; exit 5')
    has /dev/pts/0 "$shown"
    has '31 97' "$shown"
}

t_command_not_found() {
    local shown
    shown=$(exits 1 run --rm $image c1 no-such-command)
    like 'executable file not found in \$PATH' "$shown"
    shown=$(exits 1 run --rm $image c2 /etc/passwd)
    like 'permission denied' "$shown"
    same '' "$(k task ls -q)" 'the list of tasks'
}

t_exec() {
    run -d $image c1 sleep 1000
    same hi "$(ex c1 e1 'echo hi')"
    exits 9 k task exec --exec-id e2 c1 sh -c 'exit 9'
    exits 137 k task exec --exec-id e3 c1 sh -c 'kill -9 $$'
    same /tmp "$(ex c1 e4 --cwd /tmp pwd)"
    same '12 34' "$(ex c1 e5 --user 12:34 'echo $(id -u) $(id -g)')"
    shown=$(exits 1 k task exec --exec-id e6 c1 no-such-command)
    like 'executable file not found in \$PATH' "$shown"
}

t_exec_terminal() {
    local shown
    run -d $image c1 sleep 1000
    shown=$(pty ctr task exec --tty --exec-id e1 c1 sh -c 'tty; sleep 1; stty size')
    has /dev/pts/ "$shown"
    has '31 97' "$shown"
}

t_signals() {
    run -d $image c1 sh -c 'trap "exit 6" USR1; while :; do sleep 0.1; done'
    sleep 0.5
    k task kill --signal SIGUSR1 c1
    soon 10 task_is c1 STOPPED
    shown=$(k task delete c1 2>&1)
    has 'exit code 6' "$shown"
    k container delete c1
    run -d $image c1 sleep 1000
    k task kill --signal KILL --all c1
    soon 10 task_is c1 STOPPED
    shown=$(exits 1 k task kill c1)
    like 'process already finished|not found' "$shown"
}

t_pause_and_resume() {
    run -d $image c1 sleep 1000
    k task pause c1
    task_is c1 PAUSED
    like 'FROZEN|1' "$(cat /sys/fs/cgroup/freezer/default/c1/freezer.state /sys/fs/cgroup/default/c1/cgroup.freeze 2>/dev/null)"
    k task resume c1
    task_is c1 RUNNING
    same hi "$(ex c1 e1 'echo hi')"
}

t_kill_while_paused() {
    run -d $image c1 sleep 1000
    k task pause c1
    k task kill --signal KILL c1
    soon 10 task_is c1 STOPPED
}

t_metrics() {
    local shown
    run -d $image c1 sleep 1000
    shown=$(k task metrics c1)
    like 'memory.usage_in_bytes +[1-9]|memory.usage +[1-9]' "$shown"
    like 'pids.current +1' "$shown"
}

t_processes() {
    run -d $image c1 sh -c 'sleep 1000 & sleep 1001; true'
    soon 10 eval '[ "$(k task ps c1 | wc -l)" -eq 4 ]'
}

t_limits() {
    run -d --memory-limit $((64 << 20)) --cpus 0.5 --cgroup /limited/c1 $image c1 sleep 1000
    like 'memory:/limited/c1|0::/limited/c1' "$(cat "/proc/$(pid_of c1)/cgroup")"
    same $((64 << 20)) "$(cat /sys/fs/cgroup/memory/limited/c1/memory.limit_in_bytes /sys/fs/cgroup/limited/c1/memory.max 2>/dev/null)"
}

t_mounts_read_only_and_privileged() {
    mkdir shared
    echo in >shared/file
    same in "$(run --rm --mount "type=bind,src=$WORK/shared,dst=/data,options=rbind:ro" $image c1 cat /data/file)"
    exits 1 run --rm --mount "type=bind,src=$WORK/shared,dst=/data,options=rbind:ro" $image c2 touch /data/new
    exits 1 run --rm --read-only $image c3 touch /x
    exits 0 run --rm --privileged $image c4 sh -c 'mkdir /m && mount -t tmpfs none /m'
}

t_namespaces_and_seccomp() {
    run -d $image c1 sleep 1000
    same "$(readlink "/proc/$(pid_of c1)/ns/net")" "$(run --rm --with-ns "network:/proc/$(pid_of c1)/ns/net" $image c2 readlink /proc/self/ns/net)"
    same "$(readlink /proc/self/ns/net)" "$(run --rm --net-host $image c3 readlink /proc/self/ns/net)"
    same 2 "$(run --rm --seccomp $image c4 awk '/^Seccomp:/ { print $2 }' /proc/self/status)"
    same 'in /tmp' "$(run --rm --env A=in --cwd /tmp $image c5 sh -c 'echo $A $(pwd)')"
}

t_capabilities_and_devices() {
    local cap drop=()
    for cap in DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE; do
        drop+=(--cap-drop "CAP_$cap")
    done
    same "$(mask 0)" "$(run --rm "${drop[@]}" $image c1 awk '/CapEff/ { print $2 }' /proc/self/status)"
    same 1 "$(run --rm $image c2 awk '/NoNewPrivs/ { print $2 }' /proc/self/status)"
    same 0 "$(run --rm --allow-new-privs $image c3 awk '/NoNewPrivs/ { print $2 }' /proc/self/status)"
    exits 0 run --rm --device /dev/kmsg $image c4 test -c /dev/kmsg
}

t_user_namespace() {
    same '0 1000000 1000' "$(run --rm --uidmap 0:1000000:1000 --gidmap 0:1000000:1000 --remap-labels $image c1 sh -c 'echo $(cat /proc/self/uid_map)')"
}

t_annotations_and_state() {
    run -d --label a=b $image c1 sleep 1000
    same running "$("$RUNTIME" --root /run/containerd/runc/default state c1 | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])')"
    like '"a": "b"' "$(k container info c1)"
}

t_checkpoint_and_restore() {
    run -d $image c1 sh -c 'n=0; while :; do n=$((n+1)); echo $n >/tmp/n; sleep 0.1; done'
    sleep 0.5
    criu check >criu.log 2>&1 || skip "criu cannot work on this kernel: $(grep -i error criu.log | head -n 1 | cut -c 1-80)"
    k task checkpoint --exit --checkpoint-path "$WORK/image" c1
    soon 10 task_is c1 STOPPED
    k task delete c1
    k task start -d --checkpoint "$WORK/image" c1 2>/dev/null || skip 'this ctr cannot restore'
}

t_daemon_is_restarted() {
    run -d $image c1 sleep 1000
    containerd_down
    setsid containerd --config "$BASE/config.toml" >>"$BASE/log" 2>&1 </dev/null &
    echo $! >"$BASE/pid"
    soon 30 eval 'ctr version >/dev/null 2>&1'
    task_is c1 RUNNING
    same hi "$(ex c1 e1 'echo hi')"
}
