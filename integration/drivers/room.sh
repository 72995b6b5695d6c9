# shellcheck shell=bash
# The room in which all drivers run: namespaces of their own for mounts, the
# network, pids, cgroups, host name and IPC. Daemons, bridges, firewall rules,
# mounts and sockets are gone with the room's first process, however that ends;
# what is left outside are a directory and the cgroups below one name, which
# `room_remove` takes away.

room_hierarchies() {
    findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET
}

# room_make NAME: its cgroups, one in each hierarchy.
room_make() {
    local at
    for at in $(room_hierarchies); do
        mkdir "$at/$1"
        if [ -e "$at/$1/cpuset.cpus" ] && [ ! -e "$at/cgroup.controllers" ]; then
            cat "$at/cpuset.cpus" >"$at/$1/cpuset.cpus"
            cat "$at/cpuset.mems" >"$at/$1/cpuset.mems"
        fi
    done
}

# room_enter NAME COMMAND…: becomes the command, as the first process of the room.
room_enter() {
    local at name=$1
    shift
    for at in $(room_hierarchies); do echo "$BASHPID" >"$at/$name/cgroup.procs"; done
    exec unshare --mount --net --pid --cgroup --uts --ipc --fork --kill-child --mount-proc "$@"
}

# room_leave PID: takes the process that waits outside for the room's first one
# out of the version 2 cgroup, which cannot hand on controllers beside it.
room_leave() {
    local at
    until [ -n "$(cat "/proc/$1/task/$1/children" 2>/dev/null)" ]; do
        [ -d "/proc/$1" ] || return 0
        sleep 0.05
    done
    for at in $(room_hierarchies); do
        if [ -e "$at/cgroup.controllers" ]; then echo "$1" >"$at/cgroup.procs"; fi
    done
}

# In the room, as its first process: what the namespaces do not bring by themselves.
room_furnish() {
    local at kind options
    findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET,FSTYPE,FS-OPTIONS |
        while read -r at kind options; do
            options=$(tr , '\n' <<<"$options" | grep -E '^(name=.*|cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|hugetlb|net_cls|net_prio|perf_event|rdma|misc)$' | paste -sd, || true)
            case $options in name=*) options=none,$options ;; esac
            umount "$at"
            mount -t "$kind" ${options:+-o "$options"} none "$at"
        done
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        # Version 2 wants no process beside cgroups that have controllers; see room_leave.
        mkdir /sys/fs/cgroup/drivers
        echo 0 >/sys/fs/cgroup/drivers/cgroup.procs
        local all end=$((SECONDS + 5))
        all=$(sed 's/[^ ]*/+&/g' /sys/fs/cgroup/cgroup.controllers)
        until { echo "$all" >/sys/fs/cgroup/cgroup.subtree_control; } 2>/dev/null; do
            [ "$SECONDS" -lt "$end" ] || return 1
            sleep 0.05
        done
    fi
    mount -t tmpfs -o mode=755 none /run
    mount -t tmpfs -o mode=1777 none /dev/shm
    mkdir /run/lock
    ip link set lo up
    hostname drivers
}

# room_remove NAME: its cgroups, once the kernel has let go of its processes.
room_remove() {
    local at end=$((SECONDS + 10))
    for at in $(room_hierarchies); do
        while [ -d "$at/$1" ] && [ "$SECONDS" -lt "$end" ]; do
            find "$at/$1" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
        done
        if [ -d "$at/$1" ]; then echo "left behind: $at/$1" >&2; fi
    done
}
