#!/usr/bin/env bash
# What scripts/vm needs for its machine with systemd as pid 1; to be sourced.
# The root file system is a small Debian, made once and kept in target/vm; each
# run writes into a copy of it that is thrown away.

packages=(systemd systemd-sysv dbus dbus-user-session libpam-systemd uidmap apparmor kmod iproute2
    iptables procps jq criu busybox-static)

# The host's own release, from where the host gets it.
make_debian() {
    local release site
    # shellcheck source=/dev/null
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016  # apt's variables
    site=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$release" '$1 == release { print $2; exit }')
    [ -n "$site" ] || return 1
    debootstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" "$release" "$1" "$site" >"$work/debootstrap" ||
        { tail -n 5 "$work/debootstrap" >&2; return 1; }
}

# A user whose manager runs without a login, and no unit that only costs time.
configure_debian() {
    local root=$1 unit version
    version=$(ls "$cache/kernel/lib/modules")
    cp -r "$cache/kernel/lib/modules/$version" "$root/lib/modules/"
    echo vm >"$root/etc/hostname"
    : >"$root/etc/fstab"
    chroot "$root" useradd --uid 1000 --create-home --shell /bin/bash it
    mkdir -p "$root/var/lib/systemd/linger" "$root/etc/systemd/system/user@.service.d"
    touch "$root/var/lib/systemd/linger/it"
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' \
        >"$root/etc/systemd/system/user@.service.d/delegate.conf"
    for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
        fstrim.timer systemd-tmpfiles-clean.timer getty.target systemd-update-utmp.service systemd-random-seed.service \
        systemd-pstore.service systemd-journal-flush.service systemd-udev-settle.service systemd-udevd.service \
        systemd-udev-trigger.service systemd-firstboot.service systemd-repart.service apparmor.service \
        sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount dev-hugepages.mount \
        systemd-binfmt.service systemd-machine-id-commit.service; do
        ln -sf /dev/null "$root/etc/systemd/system/$unit"
    done
    mkdir -p "$root/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
    echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
    job_unit >"$root/etc/systemd/system/vm-job.service"
    printf '[Unit]\nRequires=basic.target vm-job.service\n' >"$root/etc/systemd/system/vm.target"
    rm -rf "$root"/var/cache/apt "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
}

job_unit() {
    cat <<'UNIT'
[Unit]
Wants=dbus.service systemd-logind.service user@1000.service
After=basic.target dbus.service systemd-logind.service user@1000.service

[Service]
Type=oneshot
Delegate=yes
TasksMax=infinity
TimeoutStartSec=infinity
ExecStart=/run-job
UNIT
}

# What the unit runs: the job in a cgroup of its own below the unit's, so that the
# unit's can have controllers.
make_run_job() {
    cat >"$root/run-job" <<'RUN'
#!/bin/bash
exec </dev/null >/dev/ttyS0 2>&1
export PATH=/opt/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
own=/sys/fs/cgroup/$(sed -n 's/^0:://p' /proc/self/cgroup)
[ ! -e "$own/cgroup.procs" ] || { mkdir -p "$own/job" && echo $$ >"$own/job/cgroup.procs"; }
ip link set lo up
cd /
printf "\nvm-begins\n"
/job
printf "\nvm-ended: %s\n" "$?"
sync
systemctl poweroff --force --force
RUN
    chmod 755 "$root/run-job"
}

# Loads what the disk needs, copies the job onto it, and makes way for systemd.
make_systemd_init() {
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order
mkdir -p /new
mount -t ext4 /dev/vda /new
cp -a /add/. /new/
umount /proc
mount --move /dev /new/dev
exec switch_root /new /lib/systemd/systemd
INIT
    chmod 755 "$root/init"
}

# The disk of the machine, kept until what makes it changes.
systemd_image() {
    local stamp dir=$work/debian
    stamp=$({ declare -f make_debian configure_debian job_unit; echo "${packages[@]}"; } | sha256sum | cut -c 1-16)
    disk=$cache/debian-$stamp.ext4
    [ ! -e "$disk" ] || return 0
    rm -f "$cache"/debian-*.ext4
    echo "scripts/vm: making a Debian with systemd, once" >&2
    make_debian "$dir" && configure_debian "$dir" || return 1
    truncate --size 4G "$work/disk"
    mkfs.ext4 -q -E lazy_itable_init=1 -d "$dir" "$work/disk"
    rm -rf "$dir"
    mv "$work/disk" "$disk"
}

# The initramfs of this machine: the job's files are in its directory /add.
systemd_initramfs() {
    local name
    root=$work/initramfs.d
    mkdir -p "$root"/{bin,dev,proc,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    modules=(virtio_pci virtio_blk ext4)
    copy_modules
    make_systemd_init
    mv "$work/job" "$root/add"
    root=$root/add
    make_run_job
    pack "$work/initramfs.d" >"$work/initramfs"
}
