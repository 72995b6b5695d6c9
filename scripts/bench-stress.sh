# For scripts/bench: the same loads by `sextant stress` on sextantd and on containerd's CRI, interleaved.
# Uses its $bin, $dir, $address, $rounds, $seconds, $pids and wait_for.

# cri_image NAME FILE: the root directory as an OCI image that sleeps; it is also the image of pods.
cri_image() {
    local at=$dir/image layer config manifest
    mkdir -p "$at/blobs/sha256"
    blob() {
        local sum
        sum=$(sha256sum "$1" | cut -d ' ' -f 1)
        mv "$1" "$at/blobs/sha256/$sum"
        echo "$sum"
    }
    bytes() { stat -c %s "$at/blobs/sha256/$1"; }
    tar -C "$dir/rootfs" --owner 0 --group 0 -cf "$at/layer" .
    layer=$(blob "$at/layer")
    jq -n --arg layer "sha256:$layer" '{architecture: "amd64", os: "linux",
        config: {Env: ["PATH=/bin"], Entrypoint: ["/bin/sleep", "100000"]},
        rootfs: {type: "layers", diff_ids: [$layer]}}' >"$at/config"
    config=$(blob "$at/config")
    jq -n --arg config "sha256:$config" --argjson config_size "$(bytes "$config")" \
        --arg layer "sha256:$layer" --argjson layer_size "$(bytes "$layer")" '
        "application/vnd.oci.image." as $type | {schemaVersion: 2, mediaType: ($type + "manifest.v1+json"),
        config: {mediaType: ($type + "config.v1+json"), digest: $config, size: $config_size},
        layers: [{mediaType: ($type + "layer.v1.tar"), digest: $layer, size: $layer_size}]}' >"$at/manifest"
    manifest=$(blob "$at/manifest")
    echo '{"imageLayoutVersion": "1.0.0"}' >"$at/oci-layout"
    jq -n --arg manifest "sha256:$manifest" --argjson size "$(bytes "$manifest")" --arg name "$1" '
        {schemaVersion: 2, manifests: [{mediaType: "application/vnd.oci.image.manifest.v1+json",
        digest: $manifest, size: $size, annotations: {"io.containerd.image.name": $name}}]}' >"$at/index.json"
    tar -C "$at" -cf "$2" oci-layout index.json blobs
}

# A containerd of its own with the CRI plugin; pods are in the network of the host, and need no CNI.
start_cri() {
    cat >"$dir/cri.toml" <<CONFIG
version = 2
root = "$dir/cri"
state = "$dir/cri-state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$dir/cri.sock"
[ttrpc]
  address = "$dir/cri-ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$1"
  disable_apparmor = true
  disable_hugetlb_controller = true
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
  conf_dir = "$dir/cni"
CONFIG
    containerd --config "$dir/cri.toml" 2>"$dir/cri.log" &
    pids+=("$!")
    wait_for "$dir/cri.sock"
    cri_image "$1" "$dir/image.tar"
    ctr --address "$dir/cri.sock" --namespace k8s.io image import "$dir/image.tar" >/dev/null
}

# What a load that was interrupted has left in it: shims outlive their containerd.
end_cri() {
    local ctr="ctr --address $dir/cri.sock --namespace k8s.io" task
    [ -S "$dir/cri.sock" ] || return 0
    for task in $($ctr task ls -q); do $ctr task rm --force "$task" >/dev/null 2>&1 || true; done
    # Those of pods, the latest first.
    awk -v below="$dir/" 'index($5, below) == 1 { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount
}

# stress_row NAME FILES…: the medians of these reports.
stress_row() {
    local name=$1
    shift
    jq -rs --arg name "$name" '
        def median: map(select(. != null)) | sort | if length == 0 then null else .[(length - 1) / 2 | floor] end;
        def shown: if . == null then "–" else (. * 100 | round / 100 | tostring) end;
        # The whole of a unit; what it is called depends on the scenario.
        def unit: .operations | (.life // .up // .storm // .look);
        "| " + ([$name,
            (map(.run.units / .run.seconds) | median | shown),
            (map(unit.latency_ns.p50 / 1e6) | median | shown),
            (map(unit.latency_ns.p99 / 1e6) | median | shown),
            (map(.cost.host_cpu_ms) | median | shown),
            (map(.cost.shim_pss_kib) | median | shown),
            (map(.cost.process_pss_kib) | median | shown),
            (map([.errors[].count] | add // 0) | add | tostring)] | join(" | ")) + " |"' "$@"
}

# stress_load TITLE SCENARIO FLAGS…: the load on both, one after the other, and their medians.
stress_load() {
    local title=$1 name=$2 round runs=${stress_runs:-$(((rounds + 9) / 10))}
    shift 2
    mkdir -p "$dir/reports"
    for ((round = 1; round <= runs; round++)); do
        # A load that has errors is reported with their number.
        "$bin/sextant" --address "$address" stress "$name" --rootfs "$dir/rootfs" --quiet --seed "$round" \
            --json "$dir/reports/ours-$round.json" "$@" >/dev/null || true
        "$bin/sextant" stress "$name" --cri "unix://$dir/cri.sock" --image "$stress_image" --quiet --seed "$round" \
            --json "$dir/reports/theirs-$round.json" "$@" >/dev/null || true
    done
    printf '\n#### %s\n\n' "$title"
    echo '| | units a second | p50 ms | p99 ms | host CPU ms a unit | PSS of a shim, KiB | of a process inside | errors |'
    echo '|---|---|---|---|---|---|---|---|'
    stress_row sextantd "$dir"/reports/ours-*.json
    stress_row "containerd, CRI" "$dir"/reports/theirs-*.json
    rm -r "$dir/reports"
}

stress() {
    local clients
    stress_image=sextant.test/stress:latest
    start_cri "$stress_image"
    printf '\n### The same load on sextantd and on the CRI of containerd, whose pods are in the network of the host\n'
    stress_load '200 idle containers, 8 clients' density --count 200 --clients 8 --hold 5s
    stress_runs=1 stress_load '1,000 idle containers, 8 clients' density --count 1000 --clients 8 --hold 5s
    for clients in 1 8 64; do
        stress_load "Lives of \`/bin/true\`, $clients at once" churn --duration "${seconds}s" --clients "$clients"
    done
    stress_load 'Execs of `/bin/true` in 4 containers, 8 at once' exec --duration "${seconds}s" --clients 8
    stress_load 'Lists and statistics beside 50 containers' list --duration "${seconds}s" --standing 50
}
