# Makes the namespaces of harness/root-session.ts, says "ready", and becomes their first process.
#   bash enter-root.sh ROOT COPY CGROUP
# COPY: an empty directory that takes all that is written, or nothing: the root itself takes it. CGROUP: a new cgroup, in
# which the root's own systemd runs, or nothing: no systemd runs.
set -eu
umask 022
root=$1 copy=$2 cgroup=$3

if [ "${4-}" != inside ]; then
  [ -z "$cgroup" ] || echo $$ >"$cgroup/cgroup.procs"
  # With a copy the only network is loopback.
  exec unshare --mount --pid --uts --ipc ${copy:+--net} ${cgroup:+--cgroup} --fork --kill-child bash "$0" "$@" inside
fi

if [ -n "$copy" ]; then
  # They are there when the session boots again.
  mkdir -p "$copy/upper" "$copy/work" "$copy/root"
  mount -t overlay overlay -o "lowerdir=$root,upperdir=$copy/upper,workdir=$copy/work" "$copy/root"
  root=$copy/root
  ip link set lo up
  hostname=debian
  echo "$hostname" >/proc/sys/kernel/hostname
  echo "$hostname" >"$root/etc/hostname"
else
  for path in /etc/resolv.conf /etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates \
      /etc/apt/apt.conf.d /etc/apt/auth.conf /etc/apt/auth.conf.d; do
    [ -e "$path" ] || continue
    if [ -d "$path" ]; then mkdir -p "$root$path"; else mkdir -p "$root${path%/*}"; touch "$root$path"; fi
    mount --bind "$(readlink -f "$path")" "$root$path"
  done
fi

mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
mount -t proc proc "$root/proc"
# Most of these settings are the machine's.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
if [ -n "$copy" ]; then mount -t sysfs -o ro sysfs "$root/sys"; else mount --rbind /sys "$root/sys"; fi

cd "$root"
if [ -z "$cgroup" ]; then
  # Bash, because it collects the children of processes that ended. It ends with its input, which is when its caller does.
  exec chroot . bash -c 'echo ready; while read -r _; do :; done'
fi
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mkdir -p mnt/machine
pivot_root . mnt/machine
umount -l /mnt/machine
echo ready
# Timers of a machine that is up for long. systemd takes these from its arguments where it runs in a container.
exec env container=mariadb-aws-kms setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio,-syslog,-mac_admin,-mac_override \
  /sbin/init systemd.mask=apt-daily.timer systemd.mask=apt-daily-upgrade.timer systemd.mask=fstrim.timer \
  systemd.mask=e2scrub_all.timer </dev/null >/dev/null 2>&1
