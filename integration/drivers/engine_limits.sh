# shellcheck shell=bash
# podman and Docker alike: what a container may use, and what it has used.

# limit V1FILE V2FILE: what the container's own cgroup says; the container is c1.
limit() {
    local pid at controller=${1%%/*}
    pid=$(field c1 State.Pid)
    if cgroup_v1; then
        at=$(awk -F: -v name="$controller" '{ n = split($2, a, ","); for (i = 1; i <= n; i++) if (a[i] == name) print $3 }' "/proc/$pid/cgroup")
        cat "/sys/fs/cgroup/$controller$at/${1#*/}"
    else
        cat "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup")/$2"
    fi
}

t_memory_limit() {
    e run -d --name c1 --memory 64m --memory-reservation 32m box sleep 1000
    same $((64 << 20)) "$(limit memory/memory.limit_in_bytes memory.max)"
    same $((32 << 20)) "$(limit memory/memory.soft_limit_in_bytes memory.low)"
}

t_out_of_memory() {
    e run --name c1 --memory 16m --memory-swap 16m box sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); echo $x | wc -c' || true
    same 137 "$(field c1 State.ExitCode)" 'the exit status'
    # podman 4.3 does not hear of it from conmon on cgroup v1, whatever the runtime.
    if [ "$DRIVER" = docker ]; then same true "$(field c1 State.OOMKilled)" OOMKilled; fi
}

t_out_of_memory_of_a_child() {
    e run -d --name c1 --memory 24m --memory-swap 24m box sleep 1000
    exits 137 e exec c1 sh -c 'x=$(head -c 64m /dev/zero | tr "\0" x); echo $x | wc -c'
    is c1 running
}

t_pids_limit() {
    local shown
    e run -d --name c1 --pids-limit 12 box sleep 1000
    same 12 "$(limit pids/pids.max pids.max)"
    shown=$(e exec c1 sh -c 'for n in $(seq 1 30); do sleep 5 & done; wait' 2>&1 || true)
    like "can't fork|Resource temporarily" "$shown"
}

t_cpus() {
    e run -d --name c1 --cpus 0.5 --cpu-shares 512 box sleep 1000
    if cgroup_v1; then
        same 50000 "$(limit cpu/cpu.cfs_quota_us '')"
        same 512 "$(limit cpu/cpu.shares '')"
    else
        same '50000 100000' "$(limit '' cpu.max)"
        same 20 "$(limit '' cpu.weight)"
    fi
}

t_cpuset() {
    same 0 "$(e run --rm --cpuset-cpus 0 box awk '/Cpus_allowed_list/ { print $2 }' /proc/self/status)"
    e run -d --name c1 --cpuset-cpus 0 --cpuset-mems 0 box sleep 1000
    same 0 "$(limit cpuset/cpuset.cpus cpuset.cpus)"
    same 0 "$(limit cpuset/cpuset.mems cpuset.mems)"
}

t_update_of_a_running_container() {
    e run -d --name c1 --memory 64m --memory-swap 64m --pids-limit 50 box sleep 1000
    e update --memory 96m --memory-swap 96m --cpu-shares 256 --cpuset-cpus 0 c1
    same $((96 << 20)) "$(limit memory/memory.limit_in_bytes memory.max)"
    same 0 "$(limit cpuset/cpuset.cpus cpuset.cpus)"
    if cgroup_v1; then same 256 "$(limit cpu/cpu.shares '')"; fi
    same 50 "$(limit pids/pids.max pids.max)" 'the limit that was not changed'
    is c1 running
}

t_ulimit() {
    same '123 456' "$(e run --rm --ulimit nofile=123:456 --ulimit nproc=99:99 box sh -c 'echo $(ulimit -Sn) $(ulimit -Hn)')"
    e run -d --name c1 --ulimit nofile=77:88 --ulimit nproc=99:99 --ulimit core=0 box sleep 1000
    same 77 "$(e exec c1 sh -c 'ulimit -n')" 'the limit in exec'
}

t_shm_size() {
    like '^shm +8192|^shm +8\.0M|tmpfs +8192' "$(e run --rm --shm-size 8m box df -k /dev/shm)"
}

t_oom_score_adj() {
    same 500 "$(e run --rm --oom-score-adj 500 box cat /proc/self/oom_score_adj)"
}

t_stats() {
    local shown
    e run -d --name c1 --memory 64m box sh -c 'while :; do :; done'
    sleep 1
    shown=$(e stats --no-stream --format '{{.Name}} {{.MemUsage}} {{.PIDs}}' c1)
    like '^c1 [0-9.]+[kKM]i?B / (64MiB|67.11MB) 1$' "$shown"
}

t_top() {
    e run -d --name c1 box sh -c 'sleep 1000 & sleep 1001'
    soon 10 eval 'e top c1 | grep -q "sleep 1001"'
    like 'sleep 1000' "$(e top c1)"
    same 3 "$(e top c1 | wc -l)" 'the number of lines'
}

t_cgroup_parent() {
    e run -d --name c1 --cgroup-parent /some/parent box sleep 1000
    like '/some/parent/' "$(cat "/proc/$(field c1 State.Pid)/cgroup")"
}

t_cgroup_namespace() {
    local shown
    shown=$(e run --rm --cgroupns private box cat /proc/self/cgroup)
    like '^0::/$|:memory:/$' "$shown"
    shown=$(e run --rm --cgroupns host box cat /proc/self/cgroup)
    like '[0-9a-f]{64}' "$shown"
}

t_cgroup_file_system() {
    local shown
    shown=$(e run --rm --cgroupns private --memory 64m box sh -c 'cat /sys/fs/cgroup/memory/memory.limit_in_bytes || cat /sys/fs/cgroup/memory.max')
    same $((64 << 20)) "$shown"
    exits 1 e run --rm --cgroupns private box mkdir /sys/fs/cgroup/memory/new
}
