# shellcheck shell=bash
# What podman alone has: pods, Kubernetes' files, user namespaces by the run, rootless.

t_pod() {
    e pod create --name p1 --publish 127.0.0.1:8089:80
    e run -d --pod p1 --name web box sh -c 'mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www'
    e run --rm --pod p1 box sh -c 'for n in $(seq 1 20); do wget -q -O - http://127.0.0.1/ && exit 0; sleep 0.2; done; exit 1' | grep served
    busybox wget -q -O - http://127.0.0.1:8089/ | grep served
    same Running "$(e pod inspect p1 --format '{{.State}}')"
    e pod pause p1
    is web paused
    e pod unpause p1
    e pod stop -t 0 p1
    same Exited "$(e pod inspect p1 --format '{{.State}}')"
    e pod start p1
    soon 10 is web running
    e pod rm -f -t 0 p1
    [ -z "$(e ps -aq)" ]
}

t_pod_with_shared_pids() {
    e pod create --name p1 --share pid,ipc,uts,net
    e run -d --pod p1 --name c1 box sleep 1234
    like 'sleep 1234' "$(e run --rm --pod p1 box ps)"
}

kube_file() {
    cat >pod.yaml <<'YAML'
apiVersion: v1
kind: Pod
metadata: { name: shop }
spec:
  restartPolicy: Never
  containers:
    - name: web
      image: localhost/box:latest
      imagePullPolicy: Never
      command: [sh, -c, "echo $GREETING >/data/said; exec sleep 1000"]
      env: [{ name: GREETING, value: hello }]
      resources: { limits: { memory: 64Mi } }
      securityContext: { runAsUser: 0, capabilities: { drop: [ALL] } }
      volumeMounts: [{ name: data, mountPath: /data }]
    - name: other
      image: localhost/box:latest
      imagePullPolicy: Never
      command: [sh, -c, "sleep 1; cat /data/said; exec sleep 1000"]
      volumeMounts: [{ name: data, mountPath: /data }]
  volumes: [{ name: data, emptyDir: {} }]
YAML
}

t_play_kube() {
    kube_file
    sed -i "s|emptyDir: {}|hostPath: { path: $WORK/data, type: DirectoryOrCreate }|" pod.yaml
    e play kube pod.yaml
    soon 10 eval 'e logs shop-other | grep -q hello'
    same 0000000000000000 "$(e exec shop-web awk '/CapEff/ { print $2 }' /proc/self/status)"
    e play kube --down pod.yaml
    [ -z "$(e ps -aq)" ]
}

t_generate_kube_and_play_it() {
    e run -d --name c1 --memory 64m box sleep 1000
    e generate kube c1 >c1.yaml
    e rm -f -t 0 c1
    e play kube c1.yaml
    like 'sleep 1000' "$(e exec c1-pod-c1 ps)"
    e play kube --down c1.yaml
}

t_run_replace() {
    e run -d --name c1 box sleep 1000
    e run -d --replace --name c1 box sleep 2000
    like 'sleep 2000' "$(e ps --no-trunc)"
}

t_init_before_start() {
    e create --name c1 box sh -c 'echo begun; sleep 1000'
    e init c1
    is c1 initialized || is c1 created
    e start c1
    soon 10 eval 'e logs c1 | grep -q begun'
}

t_user_namespace_auto() {
    local shown
    grep -q '^containers:' /etc/subuid || ids_for_containers
    shown=$(e run --rm --userns=auto:size=1000 box cat /proc/self/uid_map)
    like '^ *0 +[1-9][0-9]+ +1000$' "$shown"
}

# podman takes the ids of the user `containers`; /etc is the host's, so over it goes a copy.
ids_for_containers() {
    local file
    for file in subuid subgid; do
        { cat "/etc/$file"; echo containers:2000000:200000; } >"$BASE/$file"
        mount --bind "$BASE/$file" "/etc/$file"
    done
}

t_user_namespace_by_maps() {
    same '0 1000000 65536' "$(e run --rm --uidmap 0:1000000:65536 --gidmap 0:1000000:65536 box sh -c 'echo $(cat /proc/self/uid_map)')"
    e run -d --name c1 --uidmap 0:1000000:65536 --gidmap 0:1000000:65536 box sleep 1000
    same 1000000 "$(stat --format %u "/proc/$(field c1 State.Pid)")" 'the owner on the host'
    same '0 0' "$(e exec c1 sh -c 'echo $(id -u) $(stat -c %u /bin/busybox)')"
    e exec c1 sh -c 'echo x >/root/file'
}

t_preserved_descriptors() {
    same text "$(e run --rm --preserve-fds 1 box cat /proc/self/fd/3 3< <(echo text))"
    e run -d --name c1 box sleep 1000
    same text "$(e exec --preserve-fds 1 c1 cat /proc/self/fd/3 3< <(echo text))"
}

t_oci_hooks() {
    mkdir hooks
    printf '#!/bin/sh\ncat >%s/state\n' "$WORK" >hook
    chmod +x hook
    for stage in prestart createRuntime poststop; do
        cat >hooks/$stage.json <<JSON
{ "version": "1.0.0", "hook": { "path": "/bin/sh", "args": ["sh", "-c", "cat >$WORK/$stage"] },
  "when": { "always": true }, "stages": ["$stage"] }
JSON
    done
    "${engine[@]}" --hooks-dir "$WORK/hooks" run --rm box true
    for stage in prestart createRuntime; do
        like '"status": ?"creat' "$(cat $stage)"
        like '"pid": ?[1-9]' "$(cat $stage)"
    done
    soon 10 test -s poststop
    like '"status": ?"stopped"' "$(cat poststop)"
}

t_root_file_system_by_path() {
    cp -a "$DIR/rootfs" rootfs
    same here "$(e run --rm --rootfs "$WORK/rootfs" sh -c 'echo here >/made; cat /made')"
    same here "$(cat rootfs/made)"
}

t_masks_lifted_and_added() {
    exits 0 e run --rm --security-opt unmask=ALL box sh -c 'test -s /proc/timer_list; ls /sys/firmware'
    same '' "$(e run --rm --security-opt mask=/etc/passwd box cat /etc/passwd)"
    shown=$(exits 1 e run --rm --security-opt proc-opts=ro box sh -c 'echo x >/proc/self/comm')
    like 'Read-only|create' "$shown"
}

t_time_limit_and_umask() {
    if e run --rm --timeout 1 box sleep 1000; then fail 'it ended well'; fi
    same 0027 "$(e run --rm --umask 0027 box sh -c umask)"
    like '^crw' "$(e run --rm --device /dev/kmsg box ls -l /dev/kmsg)"
}

t_volume_owned_by_the_user() {
    mkdir shared
    same 12 "$(e run --rm --user 12 -v "$WORK/shared:/data:U" box stat -c %u /data)"
}

t_overlay_and_idmapped_volumes() {
    mkdir shared
    e run --rm -v "$WORK/shared:/data:O" box touch /data/new
    [ ! -e shared/new ]
    chown 5:5 shared
    same 5 "$(e run --rm --uidmap 0:1000000:65536 --gidmap 0:1000000:65536 -v "$WORK/shared:/data:idmap" box stat -c %u /data)"
}

t_sd_notify() {
    e run -d --name c1 --sdnotify=ignore box sleep 1000
    same hi "$(e exec c1 echo hi)"
}

t_secrets_and_read_only_tmpfs() {
    echo hidden | e secret create s1 -
    same hidden "$(e run --rm --secret s1 box cat /run/secrets/s1)"
    exits 0 e run --rm --read-only --read-only-tmpfs box touch /tmp/x /run/x
    e secret rm s1
}

t_runtime_by_path_and_flags() {
    same hi "$("${engine[@]}" --runtime "$RUNTIME" --runtime-flag debug run --rm box echo hi 2>/dev/null)"
    like "under-test|$(basename "$RUNTIME")" "$(e info --format '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}')"
}

t_checkpoint_and_restore() {
    e run -d --name c1 box sh -c 'n=0; while :; do n=$((n+1)); echo $n >/tmp/n; sleep 0.1; done'
    sleep 0.5
    criu check >criu.log 2>&1 || skip "criu cannot work on this kernel: $(grep -i error criu.log | head -n 1 | cut -c 1-80)"
    e container checkpoint c1
    is c1 exited
    e container restore c1
    is c1 running
}

# As an ordinary user: storage by copy, no network of its own, no cgroups.
t_rootless() {
    local uid=1234 home=$WORK/home
    [ -u /usr/bin/newuidmap ] || skip 'newuidmap is not installed'
    [ "$(cat /proc/sys/user/max_user_namespaces)" -gt 0 ] || skip 'user namespaces are forbidden'
    for file in passwd group subuid subgid; do cp /etc/$file .; done
    echo "ordinary:x:$uid:$uid::$home:/bin/sh" >>passwd
    echo "ordinary:x:$uid:" >>group
    echo "ordinary:3000000:65536" | tee -a subuid >>subgid
    mkdir -p "$home" run
    for file in containers.conf registries.conf; do sed "s,$BASE/tmp,$home/tmp,; s,$BASE/networks,$home/networks," "$BASE/$file" >"$home/$file"; done
    printf '[storage]\ndriver = "vfs"\n' >"$home/storage.conf"
    chmod 711 "$BASE" "$WORK"
    chown -R $uid:$uid "$home" run
    for file in passwd group subuid subgid; do mount --bind $file /etc/$file; done
    tar -C "$DIR/rootfs" -cf "$home/box.tar" .
    status=0
    env -i PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$WORK/run" CONTAINERS_CONF="$home/containers.conf" \
        CONTAINERS_STORAGE_CONF="$home/storage.conf" CONTAINERS_REGISTRIES_CONF="$home/registries.conf" \
        setpriv --reuid $uid --regid $uid --init-groups --reset-env \
        env PATH="$PATH" HOME="$home" XDG_RUNTIME_DIR="$WORK/run" CONTAINERS_CONF="$home/containers.conf" \
        CONTAINERS_STORAGE_CONF="$home/storage.conf" CONTAINERS_REGISTRIES_CONF="$home/registries.conf" \
        bash -euc 'cd "$HOME"
            podman import --change "ENV PATH=/bin" box.tar box
            test "$(podman run --rm --network none box sh -c "echo \$(id -u) hello; exit 0")" = "0 hello"
            podman run -d --network none --name c1 box sleep 1000
            test "$(podman exec c1 id -u)" = 0
            podman exec c1 cat /proc/self/uid_map
            podman stop -t 0 c1
            podman rm -f c1' || status=$?
    umount /etc/passwd /etc/group /etc/subuid /etc/subgid
    return $status
}
