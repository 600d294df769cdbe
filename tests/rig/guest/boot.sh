#!/bin/sh
# Process 1 of a device until its init takes over: makes what a kernel would give it.
# Runs in process, mount, network and hostname namespaces of its own; goes on when a line comes in (the link is there).
#   boot.sh ROOT HOSTNAME
set -eu
root=$1
mount --make-rprivate /
hostname "$2"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 rig "$root/dev"
for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
  set -- $node
  mknod -m 666 "$root/dev/$1" c "$2" "$3"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 rig "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=1777 rig "$root/dev/shm"
mount -t tmpfs -o mode=1777 rig "$root/tmp"
mount -t tmpfs -o mode=755 rig "$root/run"
mkdir "$root/run/systemd"
echo pocketprune-rig >"$root/run/systemd/container" # systemd's mark of a container
# The personality's /sys, and the host's own description of its processors, which XNNPACK reads: copied, so that
# frequencies can be put beside it.
mount -t tmpfs -o mode=755 rig "$root/sys"
mkdir -p "$root/sys/devices/system/cpu"
cp -R --no-preserve=all /sys/devices/system/cpu/. "$root/sys/devices/system/cpu/" 2>/dev/null || true
rm -rf "$root"/sys/devices/system/cpu/cpu*/cpufreq "$root/sys/devices/system/cpu/cpufreq"
if [ -d "$root/opt/rig/sys" ]; then cp -R "$root/opt/rig/sys/." "$root/sys/"; fi
read -r _
ip link set lo up
ip link set eth0 up
exec chroot "$root" /opt/rig/python3 /opt/rig/init.py
