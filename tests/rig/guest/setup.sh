#!/bin/sh
# What a device keeps over a reboot: its disk, and the switch that its network cable ends in.
# Runs in mount and network namespaces of its own and holds them until its standard input ends.
#   setup.sh BASE MOUNTPOINT STORAGE STORAGE_SIZE PHONE IDENTITY LAYER...
set -eu
base=$1 mountpoint=$2 storage=$3 size=$4 phone=$5 identity=$6
shift 6
mount --make-rprivate /
mount -t tmpfs -o mode=755 rig "$mountpoint"
mkdir "$mountpoint/upper" "$mountpoint/work" "$mountpoint/root"
root=$mountpoint/root
mount -t overlay -o "lowerdir=$base,upperdir=$mountpoint/upper,workdir=$mountpoint/work" rig "$root"
cp "$(dirname "$0")"/*.py "$root/opt/rig/"
for layer in "$@"; do cp -R --no-preserve=ownership "$layer/." "$root/"; done
echo "$identity" >"$root/etc/machine-id"
mkdir -p "$root/$storage"
mount -t tmpfs -o "size=$size,mode=1777" rig "$root/$storage"
if [ "$phone" = yes ]; then
  rm -f "$root"/usr/bin/python3*
  echo shell:x:2000:2000::/:/bin/sh >>"$root/etc/passwd"
  echo shell:x:2000: >>"$root/etc/group"
  chown 2000:2000 "$root/$storage"
  echo "ro.serialno=$identity" >>"$root/opt/rig/device.prop"
fi
ip link set lo up
ip link add name switch type bridge forward_delay 0
ip link set switch up
echo ready
exec cat >/dev/null
