# shellcheck shell=bash
# podman and Docker alike: files, namespaces and networks, and images made by running.

t_volumes() {
    mkdir shared
    echo from the host >shared/in
    e run --rm -v "$WORK/shared:/data" box sh -c 'cat /data/in; echo x >/data/out' | grep -q 'from the host'
    same x "$(cat shared/out)"
    shown=$(exits 1 e run --rm -v "$WORK/shared:/data:ro" box touch /data/new)
    like 'Read-only' "$shown"
    shown=$(e run --rm -v "$WORK/shared/in:/etc/motd:ro" box cat /etc/motd)
    same 'from the host' "$shown"
}

t_named_volumes() {
    e volume create vol
    e run --rm -v vol:/data box sh -c 'echo kept >/data/x'
    same kept "$(e run --rm -v vol:/data:ro box cat /data/x)"
    # What the image has there goes into a new volume.
    same passwd "$(e run --rm -v new:/etc box ls /etc/passwd | sed 's,.*/,,')"
}

t_mount_options() {
    mkdir shared
    mount --bind shared shared
    mount --make-shared shared
    shown=$(e run --rm -v "$WORK/shared:/data:ro" --mount "type=bind,src=$WORK/shared,dst=/slave,bind-propagation=rslave" \
        --mount type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=0700 box grep -E ' (/data|/slave|/t) ' /proc/self/mountinfo)
    umount shared
    like ' /data ro,' "$shown"
    like ' /t .*size=1024k,mode=700' "$shown"
}

t_mount_propagation() {
    mkdir shared
    mount --bind shared shared
    mount --make-shared shared
    e run -d --name c1 --mount "type=bind,src=$WORK/shared,dst=/data,bind-propagation=rslave" box sleep 1000
    mkdir -p shared/sub
    mount -t tmpfs none shared/sub
    touch shared/sub/seen
    shown=$(e exec c1 ls /data/sub)
    umount -l shared/sub shared
    same seen "$shown" 'what the container sees'
}

t_tmpfs() {
    shown=$(e run --rm --tmpfs /scratch:size=2m,noexec box sh -c 'grep " /scratch " /proc/mounts; cp /bin/busybox /scratch/x; /scratch/x true' 2>&1 || true)
    like 'tmpfs /scratch tmpfs .*noexec.*size=2048k' "$shown"
    like 'ermission denied|No space' "$shown"
}

t_copy_into_and_out_of() {
    e run -d --name c1 box sleep 1000
    echo text >file
    e cp file c1:/tmp/file
    same text "$(e exec c1 cat /tmp/file)"
    e cp c1:/etc/passwd out
    has root: "$(cat out)"
}

t_pid_namespaces() {
    e run -d --name c1 box sleep 1234
    like 'sleep 1234' "$(e run --rm --pid container:c1 box ps)"
    like 'drivers/inside' "$(e run --rm --pid host box ps -o args)"
    same 1 "$(e run --rm box sh -c 'echo $$')"
}

t_ipc_namespaces() {
    local id
    e run -d --name c1 --ipc shareable box sleep 1000
    same "$(readlink "/proc/$(field c1 State.Pid)/ns/ipc")" "$(e run --rm --ipc container:c1 box readlink /proc/self/ns/ipc)"
    same "$(readlink /proc/self/ns/ipc)" "$(e run --rm --ipc host box readlink /proc/self/ns/ipc)"
    id=$(e run --rm box readlink /proc/self/ns/ipc)
    [ "$id" != "$(readlink /proc/self/ns/ipc)" ] || fail 'it is the host'"'"'s'
}

t_uts_and_host_namespaces() {
    same "$(hostname)" "$(e run --rm --uts host box hostname)"
    same "$(readlink /proc/self/ns/net)" "$(e run --rm --net host box readlink /proc/self/ns/net)"
}

t_network_of_another_container() {
    e run -d --name c1 box sleep 1000
    same "$(e exec c1 cat /sys/class/net/eth0/address)" "$(e run --rm --net container:c1 box cat /sys/class/net/eth0/address)"
}

t_no_network() {
    same lo "$(e run --rm --net none box ls /sys/class/net)"
    like 'LOOPBACK,UP' "$(e run --rm --net none box ip link)"
}

t_published_port() {
    e run -d --name c1 -p 127.0.0.1:8088:80 box sh -c 'mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www'
    soon 10 eval 'busybox wget -q -O - http://127.0.0.1:8088/ | grep -q served'
    e rm -f c1
    if busybox wget -q -T 2 -O - http://127.0.0.1:8088/; then fail 'the port is still open'; fi
}

t_network_of_two_containers() {
    e network create net1
    e run -d --name server --network net1 box sh -c 'mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www'
    e run -d --name client --network net1 box sleep 1000
    like 'server' "$(e network inspect net1)$(e ps)"
    local address
    address=$(e inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' server)
    soon 10 eval "e exec client wget -q -O - http://$address/ | grep -q served"
}

t_names_on_a_network() {
    if [ "$DRIVER" = podman ] && [ ! -S /dev/log ]; then skip 'aardvark-dns does not start without a syslog daemon'; fi
    e network create net1
    e run -d --name server --network net1 box sleep 1000
    soon 20 eval 'e run --rm --network net1 box ping -c 1 -W 3 server'
}

t_commit() {
    e run --name c1 box sh -c 'echo new >/added'
    e commit c1 made
    same new "$(e run --rm made cat /added)"
    e rmi -f made
}

t_build() {
    mkdir context
    echo content >context/file
    cat >context/Dockerfile <<'FILE'
FROM box
COPY file /file
RUN echo built >/built && id -u >/uid && test -s /file
USER 12:34
RUN id -u >/tmp/user
WORKDIR /tmp
ENV A=b
CMD ["sh", "-c", "echo $(cat /built /uid /tmp/user /file) $A $(pwd) $(id -u)"]
FILE
    build -t made context
    same 'built 0 12 content b /tmp 12' "$(e run --rm made)"
    printf 'FROM box\nRUN exit 9\n' >context/Dockerfile
    shown=$(build -t bad context 2>&1) && fail 'it was built'
    like '9' "$shown"
    e rmi -f made
}

t_health_check() {
    e run -d --name c1 --health-cmd 'test -e /healthy' --health-interval 1s --health-retries 1 --health-start-period 0s box sleep 1000
    health_becomes unhealthy
    e exec c1 touch /healthy
    health_becomes healthy
}
