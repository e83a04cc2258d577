#!/usr/bin/env bash
# The package, on two hosts that a real systemd boots: tests/systemd/README.md.
# usage: tests/systemd/run.sh [FOLDER_WITH_DEBS [FOLDER_WITH_DEBS_OF_THE_PREVIOUS_BUILD]]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
debs=${1:-$here/../../target/debian}
previous=${2:-}

skip() {
	echo "SKIPPED: $1: nothing of systemd was tested" >&2
	exit "${MSGD_SKIP_STATUS:-0}" # CI sets it to 1 where it must run
}
[ "$(id -u)" = 0 ] || skip "not root"
for tool in systemd-nspawn ip nsenter dpkg-deb jq; do
	command -v $tool >/dev/null || skip "no $tool (apt-get install systemd-container dbus iproute2 util-linux jq)"
done
[ -f "$(echo "$debs"/msgd_*.deb)" ] || skip "no package in $debs (packaging/build)"

id=msgd-$$
work=$(mktemp -d)
declare -A leader
background=()

clean_up() {
	local status=$?
	trap - ERR
	set +e
	if [ $status != 0 ]; then
		for host in a b; do
			[ -n "${leader[$host]:-}" ] || continue
			echo "--- $host" >&2
			on $host systemctl status --no-pager -l msgd.socket msgd.service >&2
			on $host journalctl --no-pager -u msgd -n 40 >&2
		done
	fi
	for pid in "${background[@]}"; do kill "$pid" 2>/dev/null; done
	for host in a b; do
		"$here/host" down "$id-$host" "$work/$host"
		ip netns del "$id-$host" 2>/dev/null
	done
	rm -rf "$work"
	[ $status = 0 ] || echo "FAILED" >&2
	exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND" >&2' ERR
set -o errtrace

say() { echo "$(date +%T) $*"; }
fail() {
	echo "FAILED: $*" >&2
	exit 1
}
on() { # HOST COMMAND...
	local host=$1
	shift
	nsenter -t "${leader[$host]}" -a -- "$@"
}
wait_for() { # SECONDS COMMAND...
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || fail "not in time: $*"
		sleep 0.1
	done
}
says() { on "$1" journalctl -q -u msgd.service --grep "$2"; } # HOST PATTERN: a line of the journal
has_fields() { # HOST FIELD=VALUE...
	local host=$1
	shift
	[ -n "$(on "$host" journalctl -q -o cat _SYSTEMD_UNIT=msgd.service "$@")" ]
}
main_pid() { on "$1" systemctl show -p MainPID --value msgd.service; }
runs_anew() { # HOST OLD_PID: another daemon is ready
	on "$1" systemctl is-active -q msgd.service && [ "$(main_pid "$1")" != "$2" ]
}
link_is_up() { [ "$(on a msgctl --json peers | jq -r '.[] | select(.name == "b").state')" = up ]; }
is_gone() { ! on "$1" test -e "$2"; }
package_of() { echo "$1"/msgd_*.deb; }

# ---------------------------------------------------------------------------------------------------- traffic

# Sends COUNT messages from a to b while a command runs, then checks that b took each once, in order.
under_traffic() { # COUNT RATE NAME COMMAND...
	local count=$1 rate=$2 name=$3 sender receiver
	shift 3
	on b msgctl --json recv --as 200 --count "$count" >"$work/$name.taken" 2>"$work/$name.recv" &
	receiver=$!
	on a msgctl --json send --from 100 --to 200 --count "$count" --rate "$rate" --times 60 x \
		>"$work/$name.sent" 2>"$work/$name.send" &
	sender=$!
	background+=("$sender" "$receiver")
	"$@"
	[ "$name" = quiet ] || kill -0 "$sender" 2>/dev/null || fail "$name: the traffic ended before what it was to go through"
	wait "$sender" || fail "$name: the sender: $(cat "$work/$name.send" "$work/$name.sent")"
	wait "$receiver" || fail "$name: the receiver: $(cat "$work/$name.recv")"
	jq -r .msgid "$work/$name.taken" >"$work/$name.ids"
	[ "$(wc -l <"$work/$name.ids")" = "$count" ] || fail "$name: $(wc -l <"$work/$name.ids") of $count taken"
	sort -n -u "$work/$name.ids" | cmp -s - "$work/$name.ids" || fail "$name: doubled or out of order"
	say "$name: $count messages, each taken once, in order; $(jq -c . "$work/$name.sent" | head -c 200)"
}

restarts() {
	for round in 1 2 3; do
		for host in a b; do
			sleep 0.3
			on $host systemctl restart msgd.service
		done
	done
}
kills() {
	for round in 1 2 3; do
		for host in a b; do
			sleep 0.3
			local pid
			pid=$(main_pid $host)
			on $host kill -9 "$pid"
			wait_for 5 runs_anew $host "$pid"
		done
	done
}
upgrades() {
	for host in a b; do
		sleep 0.5
		local pid
		pid=$(main_pid $host)
		install_package $host "$(package_of "$debs")"
		wait_for 5 runs_anew $host "$pid"
	done
}

install_package() { # HOST DEB
	cp "$2" "/proc/${leader[$1]}/root/var/tmp/msgd.deb"
	# What it would sync is the whole machine's. Nobody is there to be asked about a config that both sides changed.
	on "$1" env DEBIAN_FRONTEND=noninteractive dpkg --force-unsafe-io --force-confdef --force-confold -i /var/tmp/msgd.deb >"$work/dpkg.$1" 2>&1 ||
		fail "dpkg: $(cat "$work/dpkg.$1")"
}

# ---------------------------------------------------------------------------------------------------- hosts

for host in a b; do
	ip netns add "$id-$host" || skip "no network namespaces"
	ip -n "$id-$host" link set lo up
done
ip link add veth0 netns "$id-a" type veth peer name veth0 netns "$id-b"
for host in a b; do
	[ $host = a ] && address=10.77.0.1 || address=10.77.0.2
	ip -n "$id-$host" addr add $address/24 dev veth0
	ip -n "$id-$host" link set veth0 up
	leader[$host]=$("$here/host" up "$id-$host" "$id-$host" "$work/$host") ||
		skip "no systemd boots here (above is why)"
done
say "two hosts are up"

if [ -z "$previous" ]; then
	# The same build under a lower version: what an upgrade does is the same.
	previous=$work/previous
	mkdir -p "$previous"
	dpkg-deb -R "$(package_of "$debs")" "$work/unpacked"
	sed -i 's/^Version: .*/Version: 0.0.1-1/' "$work/unpacked/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$work/unpacked" "$previous/msgd_0.0.1-1_amd64.deb" >/dev/null
fi

for host in a b; do
	install_package $host "$(package_of "$previous")"
	on $host systemctl is-active -q msgd.service || fail "$host: installed, and not running"
	on $host systemctl is-enabled -q msgd.service msgd.socket || fail "$host: installed, and not enabled"
	[ "$(on $host stat -c '%U:%G %a' /run/msgd/msgd.sock)" = "msgd:msgd 660" ] || fail "$host: the socket's owner"
	[ "$(on $host ps -o user= -p "$(main_pid $host)")" = msgd ] || fail "$host: not the service's own user"
	[ $host = a ] && own=10.77.0.1 other=10.77.0.2 peer=b || { own=10.77.0.2 other=10.77.0.1 peer=a; }
	on $host mkdir -p /etc/systemd/system/msgd.socket.d /etc/systemd/system/msgd.service.d
	on $host tee /etc/systemd/system/msgd.socket.d/listen.conf >/dev/null <<-END
		[Socket]
		ListenDatagram=
		ListenStream=/run/msgd/msgd.sock
		ListenStream=/run/msgd/status.sock
		ListenDatagram=$own:7400
	END
	on $host tee /etc/systemd/system/msgd.service.d/watchdog.conf >/dev/null <<-END
		[Service]
		WatchdogSec=2s
	END
	on $host tee /etc/msgd/msgd.toml >/dev/null <<-END
		[node]
		name = "$host"
		[security]
		mode = "none"
		allow_plaintext = true
		[[peer]]
		name = "$peer"
		addresses = ["$other:7400"]
	END
	on $host systemctl daemon-reload
	on $host systemctl stop msgd.service 2>/dev/null
	on $host systemctl restart msgd.socket
done
say "installed: enabled, running, as a user of its own"

# ---------------------------------------------------------------------------------------------------- socket activation

for host in a b; do
	! on $host systemctl is-active -q msgd.service || fail "$host: should be stopped"
done
# The second may be started by the first one's hello.
for host in a b; do
	on $host msgctl status >/dev/null || fail "$host: nobody answers"
	on $host systemctl is-active -q msgd.service || fail "$host: not started by its socket"
	wait_for 5 says $host "held by systemd: /run/msgd/msgd.sock, /run/msgd/status.sock, 10.77.0"
done
wait_for 10 link_is_up
say "started by socket activation, and the link is up"

# ---------------------------------------------------------------------------------------------------- traffic

under_traffic 1000 2000 quiet true
under_traffic 12000 1500 restarts restarts
under_traffic 12000 1500 kills kills

# ---------------------------------------------------------------------------------------------------- watchdog

pid=$(main_pid a)
on a kill -STOP "$pid"
wait_for 10 runs_anew a "$pid"
wait_for 5 says a "Watchdog timeout"
wait_for 10 link_is_up
say "a daemon that stands still is killed by the watchdog, and started again"

# ---------------------------------------------------------------------------------------------------- reload

pid=$(main_pid a)
has_peer() { on a msgctl --json peers | jq -e '.[] | select(.name == "new")'; }
on a cp /etc/msgd/msgd.toml /var/tmp/right.toml
printf '[[peer]]\nname = "new"\naddresses = ["10.77.0.9:7400"]\n' | on a tee -a /etc/msgd/msgd.toml >/dev/null
on a systemctl reload msgd.service
wait_for 5 has_peer
printf 'x = 1\n' | on a tee -a /etc/msgd/msgd.toml >/dev/null
! on a systemctl reload msgd.service 2>/dev/null || fail "a wrong config was reloaded"
wait_for 5 says a 'msgd.toml:[0-9]*: peer.x: unknown key'
on a sed 's/name = "a"/name = "z"/' /var/tmp/right.toml | on a tee /etc/msgd/msgd.toml >/dev/null
! on a systemctl reload msgd.service 2>/dev/null || fail "a key that cannot change was reloaded"
wait_for 5 says a 'msgctl: not reloaded: msgd: node.name: cannot change from a to z'
says_refused() { on a systemctl show -p StatusText --value msgd.service | grep 'not reloaded: .*node.name: cannot change'; }
wait_for 5 says_refused
has_peer >/dev/null || fail "what was refused changed something"
on a cp /var/tmp/right.toml /etc/msgd/msgd.toml
on a systemctl reload msgd.service
has_no_peer() { ! has_peer; }
wait_for 5 has_no_peer
[ "$(main_pid a)" = "$pid" ] || fail "a reload is no restart"
on a systemctl is-active -q msgd.service || fail "not active after a reload"
say "reload: a peer came and went; what is wrong or cannot change was refused, and said so"

# ---------------------------------------------------------------------------------------------------- journal

# A client whose clientid becomes somebody else's loses its connection.
on a msgctl recv --as 100 >"$work/refused" 2>&1 &
refused=$!
background+=("$refused")
is_registered() { on a msgctl --json clients | jq -e '.[] | select(.id == 100)'; }
wait_for 5 is_registered
printf '[[client]]\nid = 100\nuser = "msgd"\n' | on a tee -a /etc/msgd/msgd.toml >/dev/null
on a systemctl reload msgd.service
wait_for 5 has_fields a CLIENTID=100 REASON=NotAllowed SYSLOG_IDENTIFIER=msgd PRIORITY=4
has_fields a PEER=b PRIORITY=6 || fail "no line of the journal has PEER=b"
wait "$refused" && fail "a client that is not allowed any more goes on" || true
on a cp /var/tmp/right.toml /etc/msgd/msgd.toml
on a systemctl reload msgd.service
say "the journal has fields"

# ---------------------------------------------------------------------------------------------------- upgrade, stop, remove

under_traffic 20000 500 upgrade upgrades
for host in a b; do
	[ "$(on $host dpkg-query -f '${Version}' -W msgd)" = "$(dpkg-deb -f "$(package_of "$debs")" Version)" ] ||
		fail "$host: not upgraded"
	on $host grep -q allow_plaintext /etc/msgd/msgd.toml || fail "$host: the upgrade lost the config"
done

on a systemctl stop msgd.socket msgd.service
! on a systemctl is-active -q msgd.service || fail "not stopped"
is_gone a /run/msgd/msgd.sock || fail "stopped with its socket unit, and the socket is there"
[ "$(on a systemctl show -p Result --value msgd.service)" = success ] || fail "the end was not clean"
on a systemctl start msgd.service
wait_for 10 link_is_up
on a env DEBIAN_FRONTEND=noninteractive dpkg -P msgd >"$work/dpkg.a" 2>&1 || fail "dpkg: $(cat "$work/dpkg.a")"
is_gone a /etc/msgd/msgd.toml && is_gone a /run/msgd && is_gone a /lib/systemd/system/msgd.service ||
	fail "removed, and something stays"
! on a systemctl is-active -q msgd.service || fail "removed, and it runs"
on a systemctl --failed --no-legend | grep msgd && fail "a unit failed" || true
say "stopped, started and purged cleanly"
echo "ok: $SECONDS s"
