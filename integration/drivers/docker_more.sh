# shellcheck shell=bash
# What Docker alone has.

t_user_namespace_of_the_daemon() {
    local file
    for file in passwd group subuid subgid; do cp /etc/$file .; done
    echo 'dockremap:x:4321:4321::/:/bin/false' >>passwd
    echo 'dockremap:x:4321:' >>group
    echo 'dockremap:4000000:65536' | tee -a subuid >>subgid
    for file in passwd group subuid subgid; do mount --bind $file /etc/$file; done
    (
        export DOCKER_HOST=unix://$WORK/remap.sock
        trap 'kill "$(cat remap/pid)"; while kill -0 "$(cat remap/pid)" 2>/dev/null; do sleep 0.1; done' EXIT
        # Elsewhere, since it would remove the first one's bridge.
        before=(unshare --net)
        daemon "$WORK/remap" "$WORK/remap.sock" --userns-remap default --bridge none --iptables=false
        tar -C "$DIR/rootfs" -c . | e import --change 'ENV PATH=/bin' - box
        same '0 4000000 65536' "$(e run --rm --network none box sh -c 'echo $(cat /proc/self/uid_map)')"
        e run -d --name c1 --network none box sleep 1000
        same 4000000 "$(stat --format %u "/proc/$(field c1 State.Pid)")" 'the owner on the host'
        same 0 "$(e exec c1 id -u)"
        same '0 0 4294967295' "$(e run --rm --userns host --network none box sh -c 'echo $(cat /proc/self/uid_map)')"
        e rm -f c1
    )
    umount /etc/passwd /etc/group /etc/subuid /etc/subgid
}

t_live_restore() {
    e run -d --name c1 box sleep 1000
    # The shim and the container outlive a daemon that is killed.
    local first pid
    first=$(field c1 State.Pid)
    pid=$(cat "$BASE/d/pid")
    kill -KILL "$pid"
    soon 10 eval '! kill -0 '"$pid"' 2>/dev/null'
    rm -f "$BASE/d/pid"
    daemon "$BASE/d" "$BASE/docker.sock" --live-restore
    same "$first" "$(field c1 State.Pid)" 'its pid'
    same hi "$(e exec c1 echo hi)"
}

t_events_of_a_container() {
    local shown since
    since=$(date +%s)
    e run --name c1 --memory 16m --memory-swap 16m box sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); echo $x | wc -c' || true
    shown=$(e events --since "$since" --until "$(($(date +%s) + 1))" --format '{{.Action}}')
    for action in create start oom die; do like "^$action" "$shown"; done
}

t_many_limits_at_once() {
    e run -d --name c1 --blkio-weight 300 --cpu-period 50000 --cpu-quota 20000 --memory 64m --memory-swap 128m \
        --memory-swappiness 10 --kernel-memory 0 --oom-kill-disable=false --pids-limit 33 --cpuset-mems 0 box sleep 1000
    same hi "$(e exec c1 echo hi)"
    if cgroup_v1; then
        same 20000 "$(limit cpu/cpu.cfs_quota_us '')"
        same $((128 << 20)) "$(limit memory/memory.memsw.limit_in_bytes '')"
        same 10 "$(limit memory/memory.swappiness '')"
    fi
    e update --pids-limit 44 --cpu-quota 30000 c1
    same 44 "$(limit pids/pids.max pids.max)"
}

t_runtime_by_name() {
    same hi "$(e run --rm --runtime under-test box echo hi)"
    like under-test "$(e info --format '{{.DefaultRuntime}} {{.Runtimes}}')"
    same under-test "$(e create --name c1 box true >/dev/null; field c1 HostConfig.Runtime)"
}

t_checkpoint_and_restore() {
    criu check >criu.log 2>&1 || skip "criu cannot work on this kernel: $(grep -i error criu.log | head -n 1 | cut -c 1-80)"
    skip 'the daemon would have to run with its experimental features'
}
