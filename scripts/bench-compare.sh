# For scripts/bench: what `sextant stress compare` says of the same build twice, and of one that takes a fifth longer.
# Uses its $bin, $dir, $address, $rounds, $seconds and $base, and the daemon with fault points.

# The daemon with fault points, on a tmpfs.
start_compared() {
    mkdir "$dir/ram"
    mount -t tmpfs none "$dir/ram"
    base=$dir/ram
    mkdir "$base/state"
    start_sextantd sextantd-faults
}

# compare_run FILE: lives for that many seconds; the plan of faults is in force as it stands.
compare_run() {
    "$bin/sextant" --address "$address" stress churn --rootfs "$dir/rootfs" --quiet --seed 1 --clients 1 \
        --duration "${seconds}s" --json "$1" >/dev/null
}

# compare_sides OTHER: five runs beside five; prints what is called a regression, and "nothing" without any.
compare_sides() {
    local at=$dir/compare code=0 run sides=()
    for run in $compare_runs; do sides+=(--base "$at/base-$run" --new "$at/$1-$run"); done
    "$bin/sextant" stress compare "${sides[@]}" --paired --max-ratio 1.05 --json >"$at/said" || code=$?
    [ "$code" -le 1 ] || { echo "scripts/bench: stress compare ended with $code" >&2; return 1; }
    jq -r '.[0].rows | (map(select(.figure == "create p50"))[0] |
            "\(.ratio * 100 | round / 100) | \(.interval // [] | map(. * 100 | round / 100) | join(" to "))") as $create
        | map(select(.regression).figure) | join(", ") | "\($create) | \(if . == "" then "nothing" else . end)"' "$at/said"
}

compare() {
    local at=$dir/compare round run delay same slow compare_runs='1 2 3 4 5'
    mkdir "$at"
    : >"$base/state/faults"
    compare_run "$at/first"
    delay=$(jq '.operations.create.latency_ns.p50 / 5e6 | round' "$at/first")
    printf '\n### `stress compare`: five runs of %s s beside five, of the same build and of one in which each creation waits %s ms longer\n\n' \
        "$seconds" "$delay"
    echo '| Round | same: create p50, ratio | interval | called a regression | slower: ratio | interval | called a regression |'
    echo '|---|---|---|---|---|---|---|'
    for ((round = 1; round <= (rounds + 2) / 3; round++)); do
        for run in $compare_runs; do
            compare_run "$at/base-$run"
            compare_run "$at/same-$run"
            echo "runtime:delay=$delay:pivot%1/1" >"$base/state/faults"
            compare_run "$at/slow-$run"
            : >"$base/state/faults"
        done
        same=$(compare_sides same) slow=$(compare_sides slow)
        echo "| $round | $same | $slow |"
    done
}
