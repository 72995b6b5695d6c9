# shellcheck shell=bash
# podman and Docker alike: signals, pauses, ends and restarts.

# state CONTAINER: its status, as the engine says it.
state() { e inspect -f '{{.State.Status}}' "$1"; }
is() { [ "$(state "$1")" = "$2" ]; }
field() { e inspect -f "{{.$2}}" "$1"; }

t_stop_by_sigterm() {
    e run -d --name c1 box sh -c 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
    soon 10 eval 'e logs c1 | grep -q ready'
    e stop -t 10 c1
    same 3 "$(field c1 State.ExitCode)" 'the exit status'
    has bye "$(e logs c1)"
}

t_stop_by_sigkill() {
    e run -d --name c1 box sh -c 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    soon 10 eval 'e logs c1 | grep -q ready'
    e stop -t 1 c1
    same 137 "$(field c1 State.ExitCode)" 'the exit status'
}

t_stop_signal_of_the_container() {
    e run -d --name c1 --stop-signal USR2 box sh -c 'trap "exit 4" USR2; echo ready; while :; do sleep 0.1; done'
    soon 10 eval 'e logs c1 | grep -q ready'
    e stop -t 10 c1
    same 4 "$(field c1 State.ExitCode)" 'the exit status'
}

t_kill_with_signals() {
    e run -d --name c1 box sh -c 'trap "echo usr1" USR1; trap "echo hup" HUP; echo ready; while :; do sleep 0.1; done'
    soon 10 eval 'e logs c1 | grep -q ready'
    e kill --signal USR1 c1
    soon 10 eval 'e logs c1 | grep -q usr1'
    e kill --signal SIGHUP c1
    soon 10 eval 'e logs c1 | grep -q hup'
    e kill --signal 9 c1
    soon 10 is c1 exited
    same 137 "$(field c1 State.ExitCode)" 'the exit status'
}

t_kill_of_a_stopped_container() {
    local shown
    e run --name c1 box true
    shown=$(e kill c1 2>&1) && fail 'it was killed'
    like 'not running|running containers' "$shown"
}

t_pause_and_unpause() {
    local before
    e run -d --name c1 box sh -c 'n=0; while :; do n=$((n+1)); echo $n >/new; mv /new /count; sleep 0.05; done'
    sleep 0.5
    e pause c1
    is c1 paused || fail "it is $(state c1)"
    e cp c1:/count before
    before=$(cat before)
    sleep 0.5
    e cp c1:/count after
    same "$before" "$(cat after)" 'the count'
    e unpause c1
    is c1 running
    soon 10 eval '[ "$(e exec c1 cat /count)" -gt '"$before"' ]'
}

t_paused_refuses_exec() {
    e run -d --name c1 box sleep 1000
    e pause c1
    shown=$(e exec c1 true 2>&1) && fail 'it ran'
    like '[Pp]aused|running containers' "$shown"
}

t_kill_and_remove_while_paused() {
    e run -d --name c1 box sleep 1000
    e pause c1
    # What an engine itself refuses is its own affair.
    e kill c1 || true
    e rm -f c1
    [ -z "$(e ps -aq)" ] || fail "$(e ps -a)"
}

t_inspect_state() {
    local pid
    e run -d --name c1 box sleep 1000
    same true "$(field c1 State.Running)"
    pid=$(field c1 State.Pid)
    has sleep "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
    e kill c1
    soon 10 is c1 exited
    same 'false 0' "$(field c1 State.Running) $(field c1 State.Pid)"
}

t_restart() {
    local first
    e run -d --name c1 box sh -c 'echo begun; exec sleep 1000'
    first=$(field c1 State.Pid)
    e restart -t 0 c1
    soon 10 is c1 running
    [ "$(field c1 State.Pid)" != "$first" ] || fail 'it is the same process'
    soon 10 eval '[ "$(e logs c1 | grep -c begun)" -eq 2 ]'
}

t_start_again() {
    local shown
    e run --name c1 box sh -c 'echo x >>/count; wc -l </count'
    shown=$(e start -a c1)
    same 2 "$(tr -d ' ' <<<"$shown")" 'the count'
}

t_restart_on_failure() {
    e run -d --name c1 --restart on-failure:2 box sh -c 'echo begun; exit 5'
    soon 30 eval '[ "$(e logs c1 | grep -c begun)" -eq 3 ]'
    soon 10 is c1 exited
    same 2 "$(field c1 RestartCount)" 'the restart count'
    same 5 "$(field c1 State.ExitCode)" 'the exit status'
}

t_restart_always() {
    e run -d --name c1 --restart always box sh -c 'echo begun; exec sleep 1000'
    kill -KILL "$(field c1 State.Pid)"
    soon 30 eval '[ "$(e logs c1 | grep -c begun)" -ge 2 ]'
    soon 10 is c1 running
    e stop -t 0 c1
    sleep 1
    is c1 exited || fail "it is $(state c1) after stop"
}

t_two_services_restart() {
    e network create --label app=shop net1
    e run -d --name db --network net1 --label app=shop --restart always box sleep 1000
    e run -d --name web --network net1 --label app=shop --restart always box sleep 1000
    e ps -q --filter label=app=shop | xargs "${engine[@]}" restart -t 0
    soon 10 eval '[ "$(e ps -q --filter label=app=shop --filter status=running | wc -l)" -eq 2 ]'
    e exec web ping -c 1 -W 5 "$(e inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' db)"
}

t_wait() {
    e run -d --name c1 box sh -c 'sleep 1; exit 21'
    same 21 "$(e wait c1)"
}

t_rename() {
    e run -d --name c1 box sleep 1000
    e rename c1 d1
    same hi "$(e exec d1 echo hi)"
    e rm -f d1
}

t_remove_of_a_running_container() {
    e run -d --name c1 box sleep 1000
    exits 0 e rm -f c1
    [ -z "$(e ps -aq)" ] || fail "$(e ps -a)"
    e run -d --name c1 box sleep 1000
}

t_automatic_removal() {
    e run -d --rm --name c1 box sleep 1000
    e stop -t 0 c1
    soon 10 eval '[ -z "$(e ps -aq)" ]'
}

t_nothing_is_left_of_the_runtime() {
    local before
    before=$(runtime_leaves)
    e run -d --name c1 box sleep 1000
    e exec c1 true
    e rm -f -t 0 c1 2>/dev/null || e rm -f c1
    soon 10 eval '[ "$(runtime_leaves)" = "'"$before"'" ]'
}

# States and cgroups of containers; the engine's own cgroups stay.
runtime_leaves() {
    find /run -name state.json
    find /sys/fs/cgroup -mindepth 3 -type d | grep -E '[0-9a-f]{64}' || true
}
