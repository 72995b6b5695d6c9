# For scripts/bench: idle containers in growing numbers on one sextantd, by `sextant stress density`.
# Uses its $bin, $dir and $address.

# least FILE: keeps the least MemAvailable (KiB) and the most tasks of the host in FILE, until it is gone.
least() {
    local least=999999999 most=0 now tasks
    while [ -e "$1" ]; do
        now=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
        tasks=$(awk '{ split($4, of, "/"); print of[2] }' /proc/loadavg)
        [ "$now" -ge "$least" ] || least=$now
        [ "$tasks" -le "$most" ] || most=$tasks
        [ ! -e "$1" ] || echo "$least $most" >"$1.now"
        sleep 0.3
    done
}

# scale_row CLIENTS COUNT: that many, and what the first and the last of them cost.
scale_row() {
    local report=$dir/scale.json mark=$dir/scale before tasks low most sampler
    before=$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)
    tasks=$(awk '{ split($4, of, "/"); print of[2] }' /proc/loadavg)
    : >"$mark"
    least "$mark" &
    sampler=$!
    "$bin/sextant" --address "$address" stress density --rootfs "$dir/rootfs" --quiet --seed 1 --clients "$1" \
        --count "$2" --hold 5s --json "$report" >/dev/null || true
    rm "$mark"
    wait "$sampler" || true
    read -r low most <"$mark.now"
    jq -r --argjson count "$2" --argjson clients "$1" --argjson memory "$(((before - low) / $2))" \
        --argjson tasks "$((most - tasks))" '
        def shown: if . == null then "–" else (. * 100 | round / 100 | tostring) end;
        (.operations.create.seconds | map(select(.count > 0))) as $seconds
        # Whole seconds: the last one may have a few alone.
        | (if ($seconds | length) > 2 then $seconds[:-1] else $seconds end) as $whole
        | ($whole[0].p50_ns / 1e6) as $first | ($whole[-1].p50_ns / 1e6) as $last
        | (.operations.up.seconds | map(select(.count > 0)) | length) as $up
        | "| " + ([($count | tostring), ($clients | tostring), (.run.units | tostring), ($up | tostring),
            ($first | shown), ($last | shown), ($last / $first | shown), (.cost.target_cpu_ms | shown),
            ([.samples[].manager_pss_kib | select(. != null)] | max / 1024 | shown),
            (.cost.shim_pss_kib | shown), ($memory | tostring), ($tasks | tostring),
            ([.errors[] | .cause + " × " + (.count | tostring)] | join(", "))] | join(" | ")) + " |"' "$report"
}

scale() {
    local count
    printf '\n### Idle containers in growing numbers\n\n'
    echo '| containers | clients | were up | seconds | create in the first second, p50 ms | in the last | ratio | CPU of the stack, ms each | manager PSS, MiB | shim PSS, KiB | memory of the host, KiB each | tasks of the host | errors |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|---|---|'
    scale_row 1 1000
    for count in ${scale_counts:-250 500 1000 2000 4000}; do
        scale_row 8 "$count"
    done
}
