# shellcheck shell=bash
# podman and Docker alike (`e` is the one or the other): processes, their
# streams, terminals and exit statuses.

t_run_exit_status() {
    exits 0 e run --rm box true
    exits 7 e run --rm box sh -c 'exit 7'

}

t_run_streams() {
    e run --rm box sh -c 'echo out; echo err >&2' >out 2>err
    same out "$(cat out)" stdout
    same err "$(cat err)" stderr
    same 'from stdin' "$(echo from stdin | e run --rm -i box cat)"
}

t_run_terminal() {
    local shown
    shown=$(pty "${engine[@]}" run --rm -it box sh -c 'tty; sleep 1; stty size; ls -l /dev/console')
    has /dev/pts/0 "$shown"
    has '31 97' "$shown"
    like '^crw' "$shown"
    exits 5 pty "${engine[@]}" run --rm -it box sh -c 'exit 5'
}

t_run_detached_and_logs() {
    e run -d --name c1 box sh -c 'echo one; echo two >&2; exit 3'
    same 3 "$(e wait c1)" 'the status that wait gave'
    e logs c1 >out 2>err
    same one "$(cat out)"
    same two "$(cat err)"
}

t_logs_followed() {
    local shown
    e run -d --name c1 box sh -c 'for n in 1 2 3; do echo line $n; sleep 0.3; done'
    # podman waits for an event that its file backend does not bring.
    shown=$(timeout 6 "${engine[@]}" logs --follow c1) || [ "$DRIVER" = podman ]
    same $'line 1\nline 2\nline 3' "$shown"
}

t_large_output() {
    local sum
    sum=$(seq 1 200000 | sha256sum)
    same "$sum" "$(e run --rm box seq 1 200000 | sha256sum)" 'the output'
    e run --name c1 box seq 1 200000 >/dev/null
    same "$sum" "$(e logs c1 | sha256sum)" 'the log'
}

t_command_not_found() {
    local shown
    shown=$(exits 127 e run --rm box no-such-command)
    like 'executable file .?no-such-command.? not found in \$PATH|no-such-command.*executable file not found in \$PATH' "$shown"
    shown=$(exits 127 e run --rm box /no/such/file)
    like 'no such file or directory' "$shown"
}

t_command_not_executable() {
    local shown
    shown=$(exits 126 e run --rm box /etc/passwd)
    like '[Pp]ermission denied' "$shown"
    exits 126 e run --rm box /etc
}

t_working_directory() {
    local shown
    same /tmp "$(e run --rm --workdir /tmp box pwd)"
    # Docker makes what is missing, podman refuses it; below a file neither can.
    if [ "$DRIVER" = docker ]; then same /new/place "$(e run --rm --workdir /new/place box pwd)"; fi
    shown=$(e run --rm --workdir /etc/passwd/x box pwd 2>&1) && fail "it ran: $shown"
    like 'passwd' "$shown"
}

t_create_and_start_attached() {
    e create --name c1 box sh -c 'echo begun; exit 4'
    same created "$(e inspect -f '{{.State.Status}}' c1)"
    shown=$(exits 4 e start --attach c1)
    has begun "$shown"
}

t_environment_and_entrypoint() {
    printf 'FROM_FILE=f\n' >./env
    shown=$(e run --rm --env A=a --env-file ./env --workdir /tmp --entrypoint /bin/sh box -c 'echo $A $FROM_FILE $(pwd) $HOME')
    same 'a f /tmp /root' "$shown"
}

t_exec() {
    e run -d --name c1 box sleep 1000
    same hi "$(e exec c1 echo hi)"
    same 'from stdin' "$(echo from stdin | e exec -i c1 cat)"
    e exec c1 sh -c 'echo out; echo err >&2' >out 2>err
    same out "$(cat out)"
    same err "$(cat err)"
}

t_exec_terminal() {
    local shown
    e run -d --name c1 box sleep 1000
    shown=$(pty "${engine[@]}" exec -it c1 sh -c 'tty; sleep 1; stty size; test -t 2 && echo a terminal')
    has /dev/pts/ "$shown"
    has '31 97' "$shown"
    has 'a terminal' "$shown"
    exits 6 pty "${engine[@]}" exec -it c1 sh -c 'exit 6'
}

t_exec_exit_status() {
    local shown status=0
    e run -d --name c1 box sleep 1000
    exits 9 e exec c1 sh -c 'exit 9'
    exits 137 e exec c1 sh -c 'kill -KILL $$'
    # Docker 20.10 has 126 for both.
    shown=$(e exec c1 no-such-command 2>&1) || status=$?
    like '12[67]' $status
    like 'not found' "$shown"
    shown=$(exits 126 e exec c1 /etc/passwd)
    like '[Pp]ermission denied' "$shown"
}

t_exec_user_workdir_env() {
    e run -d --name c1 --user 12:34 box sleep 1000
    same '12 34' "$(e exec c1 sh -c 'echo $(id -u) $(id -g)')"
    same '65534 56 /tmp x' "$(e exec --user 65534:56 --workdir /tmp --env A=x c1 sh -c 'echo $(id -u) $(id -g) $(pwd) $A')"
    same 0 "$(e exec --user root c1 id -u)"
}

t_exec_detached() {
    e run -d --name c1 box sleep 1000
    e exec -d c1 sh -c 'echo done >/tmp/done; sleep 1000'
    soon 10 e exec c1 test -s /tmp/done
    like 'sleep 1000' "$(e exec c1 ps)"
}

t_exec_privileged() {
    e run -d --name c1 box sleep 1000
    has_all_capabilities "$(seen_in_exec CapEff --privileged)"
}

t_exec_in_a_stopped_container() {
    local shown
    e run --name c1 box true
    shown=$(e exec c1 true 2>&1) && fail "it ran"
    like 'not running|running containers' "$shown"
}

t_attach() {
    local shown
    e run -d -i --name c1 box sh -c 'read line; echo got $line; exit 8'
    shown=$({ echo word; sleep 2; } | e attach c1 || true)
    has 'got word' "$shown"
    same 8 "$(e wait c1)" 'the exit status'
}

# Docker's status after the keys that detach is 1.
detached() { [ "$1" -eq 0 ] || [ "$DRIVER" = docker ]; }

t_attach_and_detach() {
    local status=0
    e run -d -it --name c1 box sh
    pty_type 'echo $((40+2))\r' 42 '\x10' '' '\x11' -- "${engine[@]}" attach c1 || status=$?
    detached $status
    same running "$(e inspect -f '{{.State.Status}}' c1)"
}

t_resize_of_a_terminal() {
    local status=0
    e run -d -it --name c1 box sh
    pty_type --size 40x120 'sleep 0.5; stty size\r' '40 120' '\x10' '' '\x11' -- "${engine[@]}" attach c1 || status=$?
    detached $status
}

t_parallel_runs() {
    local n pids=()
    for n in $(seq 1 20); do
        e run --rm box sh -c "echo number $n" >"out.$n" 2>"err.$n" &
        pids+=($!)
    done
    for n in "${pids[@]}"; do wait "$n" || fail "one ended with $?: $(cat err.*)"; done
    for n in $(seq 1 20); do same "number $n" "$(cat "out.$n")"; done
}
