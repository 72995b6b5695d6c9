# shellcheck shell=bash
# What the scenarios of all drivers share: how one says that it failed or cannot
# run here, and how it looks at what a command did. Each scenario is a function
# t_NAME that ends with an error or does not; `one` runs a single one.

# The scenario cannot run here; the last word of its output is the reason.
skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}

fail() {
    printf 'failed: %s\n' "$*" >&2
    exit 1
}

# For the ERR trap: the line of the scenario at which a command failed.
failed_line() {
    local at
    for at in "${!FUNCNAME[@]}"; do
        case ${FUNCNAME[at]} in
            t_*) printf 'failed: %s\n' "$(sed -n "${BASH_LINENO[at - 1]}s/^ *//p" "${BASH_SOURCE[at]}")" >&2 ;;
        esac
    done
}

# same EXPECTED GOT [WHAT]
same() {
    [ "$1" = "$2" ] || fail "${3:-it} is $(printf %q "$2"), not $(printf %q "$1")"
}

# has PART TEXT
has() {
    case $2 in
        *"$1"*) ;;
        *) fail "there is no $(printf %q "$1") in $(printf %q "$2")" ;;
    esac
}

# like PATTERN TEXT: a regular expression, as grep -E has it.
like() {
    grep -qE -- "$1" <<<"$2" || fail "$(printf %q "$2") is not like $1"
}

# exits STATUS COMMAND…: its output goes on, both streams as one.
exits() {
    local expected=$1 got=0
    shift
    "$@" 2>&1 || got=$?
    [ "$got" -eq "$expected" ] || fail "$* ended with $got, not $expected"
}

# soon SECONDS COMMAND…: until it is true, within so many seconds.
soon() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -le "$end" ] || fail "did not become true: $*"
        sleep 0.1
    done
}

# pty COMMAND…: on a terminal of 97 columns and 31 lines; what it shows, without carriage returns.
pty() {
    python3 "$here/terminal.py" -- "$@"
}

# pty_type KEYS SHOWN … -- COMMAND…: as above, with keys typed (terminal.py).
pty_type() {
    python3 "$here/terminal.py" "$@"
}

# The hexadecimal mask of a capability set, as /proc/self/status shows it: mask 0 13 …
mask() {
    local bit bits=0
    for bit in "$@"; do bits=$((bits | 1 << bit)); done
    printf '%016x' "$bits"
}

# has_all_capabilities MASK: those that a driver knows of, as far as this machine can give them.
has_all_capabilities() {
    local had=$((16#$1)) could
    could=$((16#$(awk '/CapBnd/ { print $2 }' /proc/self/status) & (1 << 38) - 1))
    [ $((had & could)) -eq "$could" ] || fail "the mask is $1"
}

# Whether this machine has version 1 of the memory controller.
cgroup_v1() {
    [ -d /sys/fs/cgroup/memory ]
}

# The storage that the engines can have here.
storage_driver() {
    local at=$BASE/try
    mkdir -p "$at"/{lower,upper,work,all}
    if mount -t overlay -o "lowerdir=$at/lower,upperdir=$at/upper,workdir=$at/work" none "$at/all" 2>/dev/null; then
        umount "$at/all"
        echo overlay
    else
        echo vfs
    fi
}
