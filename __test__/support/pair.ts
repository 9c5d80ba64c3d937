/** A second namespace behind a veth pair, with a router to 10.2.0.0/24 and fd02::/64, where the MTU is 1,280. */
export const PEER = `
  unshare --net --kill-child sleep 60 >/dev/null 2>&1 &
  export PEER_PID=$!
  trap 'kill $PEER_PID' EXIT
  until [ "$(readlink /proc/$PEER_PID/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
  echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
  nsenter -t $PEER_PID -n sh -ec 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad'
  ip link add near type veth peer name far netns $PEER_PID
  ip addr add 10.1.0.1/24 brd + dev near; ip addr add fd01::1/64 dev near nodad; ip link set near up
  nsenter -t $PEER_PID -n sh -ec '
    ip link set lo up
    ip addr add 10.1.0.2/24 brd + dev far; ip addr add fd01::2/64 dev far nodad; ip link set far up
    echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
    ip link add out mtu 1280 type veth peer name end; ip link set end up; ip link set out up
    ip addr add 10.2.0.1/24 dev out; ip addr add fd02::1/64 dev out nodad
    for host in 10.2.0.2 10.2.0.3 fd02::2 fd02::3; do ip neigh replace $host lladdr 02:00:00:00:00:99 dev out nud permanent; done
    until [ "$(ip link | grep -c "state UP")" = 3 ]; do sleep 0.01; done'
  ip route add 10.2.0.0/24 via 10.1.0.2; ip route add fd02::/64 via fd01::2
  until ip link show near | grep -q 'state UP'; do sleep 0.01; done`;
