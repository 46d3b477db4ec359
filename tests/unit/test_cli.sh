#!/bin/sh
# The command line as scripts and people meet it: exit codes, messages, and no
# secret in any output. Runs where the program was built.
set -eu
EMULATOR=${EMULATOR-} # of another machine, see scripts/cross
proxy=$PWD/mqtt-wss-proxy
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

failed() {
	echo "FAILED: $*"
	echo "--- standard output"
	cat out
	echo "--- standard error"
	cat err
	exit 1
}

# expect CODE ARGUMENT...: runs the program; its output is in out and err
expect() {
	wanted=$1
	shift
	code=0
	$EMULATOR "$proxy" "$@" >out 2>err || code=$?
	[ $code -eq "$wanted" ] || failed "exit code $code, not $wanted: $*"
	! grep -qF -e 'not-for-your-eyes' -e 'nor-this-one' out err ||
		failed "a secret is shown: $*"
}

# says FILE TEXT
says() {
	grep -qF -e "$2" "$1" || failed "no '$2' in $1"
}

# silent FILE
silent() {
	[ ! -s "$1" ] || failed "$1 should be empty"
}

cat >proxy.ini <<'END'
[cloud]
port = 8443
END
cat >devices.ini <<'END'
[device:pump-7]
product_key = a1B2c3D4e5F
device_name = pump_7
device_secret = not-for-your-eyes
region = cn-shanghai
match_client_id = PUMP7
password = nor-this-one

[device:lab]
product_key = a1B2c3D4e5F
device_name = lab_1
device_secret = not-for-your-eyes
host = ::1
port = 9001
path = /lab
transports = ws
timestamp = none
client_id = 12345
sign_method = hmacsha1
match_username = lab
END
chmod 600 devices.ini

# help and version
for arguments in --help -h help; do
	expect 0 $arguments
	says out 'Usage: mqtt-wss-proxy COMMAND'
	silent err
done
for command in run check sign match topic status; do
	expect 0 help
	says out "  $command "
	expect 0 $command --help
	says out "Usage: mqtt-wss-proxy $command"
	says out '--config FILE'
	silent err
	cp out by_option
	expect 0 help $command
	cmp -s out by_option || failed "two kinds of help for $command"
done
for arguments in --version version; do
	expect 0 $arguments
	says out 'mqtt-wss-proxy '
	silent err
done

# wrong usage
expect 2
says err 'a command is missing'
expect 2 chek
says err "there is no command 'chek'"
says err 'mqtt-wss-proxy --help'
expect 2 --chek
says err "there is no option '--chek'"
expect 2 help chek
expect 2 check --color
says err "option '--color' is unknown"
says err 'mqtt-wss-proxy check --help'
expect 2 check --config
expect 2 check everything
says err "unexpected argument 'everything'"
expect 2 check --timestamp 1
expect 2 sign --config proxy.ini
says err 'LABEL is missing'
expect 2 sign pump-7 lab --config proxy.ini
for ms in '' -1 +1 ' 1' 1x 1.5 99999999999999999999; do
	expect 2 sign pump-7 --config proxy.ini --timestamp "$ms"
	says err 'milliseconds'
	silent out
done

# check: good files; devices.ini is looked for beside the other
expect 0 check --config "$dir/proxy.ini"
says err "$dir/devices.ini:16: warning: transports has ws"
says out 'cloud.port = 8443'
says out 'listen.port = 1883 (default)'
grep -qx 'cloud.port = 8443' out || failed 'a default is marked wrongly'
says out 'device pump-7: a1B2c3D4e5F/pump_7 at wss://a1B2c3D4e5F.iot-as-mqtt'
says out '.cn-shanghai.aliyuncs.com:8443/mqtt, hmacsha256,'
says out 'answers to client_id="PUMP7" with its password'
says out 'ws://[::1]:9001/lab, hmacsha1, answers to username="lab"'
expect 0 check --config proxy.ini --devices ./devices.ini
expect 0 check --devices devices.ini
says out 'listen.port = 1883'

# check: which egress proxy the environment names for which transport
sed 's/^transports = ws$/transports = wss, ws/; s/::1/lab.example/' \
	devices.ini >ways.ini
chmod 600 ways.ini
unset http_proxy HTTPS_PROXY all_proxy ALL_PROXY no_proxy NO_PROXY
export https_proxy=http://out.example:3128
expect 0 check --config proxy.ini --devices ways.ini
unset https_proxy
says out '/lab by egress proxy http://out.example:3128, else ws://'
says out 'ws://lab.example:9001/lab,'

# check: everything that is wrong with both files is told at once
printf '[cloud]\nport = 70000\n' >wrong.ini
printf '[device:lab]\nsecret = not-for-your-eyes\n' >wrong-devices.ini
expect 3 check --config wrong.ini --devices wrong-devices.ini
grep -q '^wrong\.ini:2: error: .*70000' err || failed 'no line of wrong.ini'
grep -q '^wrong-devices\.ini:2: error: ' err ||
	failed 'no line of wrong-devices.ini'
silent out
expect 3 check --config nowhere.ini --devices devices.ini
says err 'nowhere.ini: error: '
# run waits for a map that is not there; one with mistakes is an error
expect 3 run --config proxy.ini --devices wrong-devices.ini
says err 'wrong-devices.ini:2: error: '
expect 3 check --config proxy.ini --devices nowhere.ini
says err 'nowhere.ini: error: '
expect 3 sign pump-7 --config wrong.ini --devices devices.ini
silent out

# sign: the same time gives the same three lines
expect 0 sign pump-7 --config proxy.ini --timestamp 789
cat >wanted <<'END'
client_id=a1B2c3D4e5F.pump_7|securemode=2,signmethod=hmacsha256,timestamp=789|
username=pump_7&a1B2c3D4e5F
END
content=clientIda1B2c3D4e5F.pump_7deviceNamepump_7productKeya1B2c3D4e5F
content=${content}timestamp789
printf 'password=%s\n' "$(printf %s "$content" |
	openssl dgst -sha256 -hmac not-for-your-eyes | sed 's/.* //')" >>wanted
cmp -s out wanted || failed "not what openssl signs: $(cat wanted)"
expect 0 sign --config proxy.ini lab --timestamp 789
says out 'client_id=12345|securemode=3,signmethod=hmacsha1|'
says err '--timestamp is not used'
expect 1 sign nobody --config proxy.ini
says err 'devices.ini has no [device:nobody]'
silent out

# the rules of an entry: check shows those that are no defaults
says_not() {
	! grep -qF -e "$2" "$1" || failed "there is '$2' in $1"
}
expect 0 check --config proxy.ini
for key in enabled match_case allow_from keep_alive clean_session log_level \
	qos2 qos0_queue contract qos_max; do
	says_not out ", $key = "
done
cat >rules.ini <<'END'
[product:a1B2c3D4e5F]
host = h
allow_from = 10.0.0.0/8, ::ffff:192.0.2.1,2001:DB8::/32
[device:exact]
product_key = a1B2c3D4e5F
device_name = dev_1
device_secret = not-for-your-eyes
match_client_id = PUMP7
password = nor-this-one
[device:any]
product_key = a1B2c3D4e5F
device_name = dev_2
device_secret = not-for-your-eyes
match_client_id = Pump7
match_case = no
enabled = no
keep_alive = 2m
clean_session = no
log_level = debug
[device:subnet]
product_key = a1B2c3D4e5F
device_name = dev_3
device_secret = not-for-your-eyes
match_address = 10.0.0.0/24
[device:place]
product_key = a1B2c3D4e5F
device_name = dev_4
device_secret = not-for-your-eyes
match_address = 10.0.0.16/28
[device:pair]
product_key = a1B2c3D4e5F
device_name = dev_5
device_secret = not-for-your-eyes
contract = none
qos_max = 1
keep_alive_min = 0
topic_unmapped = drop
qos0_queue = 0
match_client_id = Eve
match_username = Ada "x"
topic.2.lan = plant/+/state
topic.2.cloud = /${pk}/${dn}/user/$1
END
chmod 600 rules.ini
from='allow_from = 10.0.0.0/8, 192.0.2.1, 2001:db8::/32'
expect 0 check --config proxy.ini --devices rules.ini
says out "\"PUMP7\" with its password, $from"
says out "\"Pump7\", match_case = no, $from, keep_alive = 120s, clean_session\
 = no, log_level = debug, enabled = no"
says out "answers to address=\"10.0.0.16/28\", $from"
says out ', topic_unmapped = drop, qos0_queue = 0, contract = none, qos_max = 1'
says_not out ', keep_alive_min'
expect 0 device show pair --config proxy.ini --devices rules.ini
says out 'contract = none (line 34)'
says out 'qos_max = 1 (line 35)'
says out 'topic_unmapped = drop (line 37)'
says out 'second_device = replace (default)'
says out 'qos0_queue = 0 (line 38)'
says_not out 'keep_alive_min'
rule='topic.2 = plant/+/state <-> /${pk}/${dn}/user/$1'
says out "$rule (line 41)"
expect 0 topic pair up plant/7/state --config proxy.ini --devices rules.ini
says out "/a1B2c3D4e5F/dev_5/user/7 by $rule (line 41)"
expect 0 topic pair up 'plant/#' --config proxy.ini --devices rules.ini
says out '/a1B2c3D4e5F/dev_5/user/+'
expect 0 topic pair down /a1B2c3D4e5F/dev_5/user/7 --config proxy.ini \
    --devices rules.ini
says out 'plant/7/state by topic.2'
expect 1 topic pair up plant/a-b/state --config proxy.ini --devices rules.ini
says out 'cannot map it'
says out 'topic_unmapped = drop'
expect 1 topic exact up a --config proxy.ini --devices rules.ini
says out 'has no rules for topics'
says out 'it passes as it is'
expect 1 topic exact up a/b/c/d/e/f/g/h/i --config proxy.ini --devices rules.ini
says out 'longer than the cloud takes it'
expect 2 topic pair sideways a --config proxy.ini --devices rules.ini
expect 2 topic pair up --config proxy.ini --devices rules.ini
expect 2 topic pair up 'a/#/b' --config proxy.ini --devices rules.ini
expect 2 topic pair down 'a/#' --config proxy.ini --devices rules.ini
says err 'a filter only goes up'
cat >topics.ini <<'END'
[device:all]
region = cn-shanghai
product_key = a1B2c3D4e5F
device_name = dev_5
device_secret = not-for-your-eyes
topic_max = 40
topic.1.lan = #
topic.1.cloud = /${pk}/${dn}/user/$#
topic.2.lan = /Living Room/+/°C
topic.2.cloud = /${pk}/${dn}/user/room_$1
topic.3.lan = node=1;s=2
topic.3.cloud = /${pk}/${dn}/user/a_long_name_of_a_node
END
chmod 600 topics.ini
topic() {
	code=$1
	shift
	expect "$code" topic all "$@" --config proxy.ini --devices topics.ini
}
topic 0 up a/b
says out '/a1B2c3D4e5F/dev_5/user/a/b by topic.1 = # <->'
topic 0 up '/Living Room/7/°C'
says out '/a1B2c3D4e5F/dev_5/user/room_7 by topic.2'
topic 0 up '#'
says out '/a1B2c3D4e5F/dev_5/user/#'
says out 'a_long_name_of_a_node, which is left out: it is longer'
says out 'these cover more than was asked for'
topic 1 up 'node=1;s=2'
says out 'longer than the cloud takes it (topic_max = 40,'
says out 'dropped at QoS 0'
topic 1 up a/b/c/d/e/f/g/h
says out 'too long, there may be at most 7 slashes, by topic.1 = #'
topic 1 up '+/+/+/+/+/+/+/+'
says out 'no topic of the cloud is short enough'
says out 'the subscription is refused'
topic 1 up a-b
says out 'cannot map it'
says out 'it passes as it is'
# a rule for what no topic of the LAN has for a name
sed -i 's|^topic.1.lan.*|topic.1.lan = $share/g/#|' topics.ini
topic 3 up a
says err 'is a shared filter'
expect 0 device show exact --config proxy.ini --devices rules.ini
says out 'contract = aliyun (default)'
says_not out 'qos_max'

# what a device has to show besides
sed 's/^password = .*/verify_login = yes/' rules.ini >signed.ini
chmod 600 signed.ini
expect 0 check --config proxy.ini --devices signed.ini
says out '"PUMP7" with a login signed with its secret, allow_from'
expect 0 match --config proxy.ini --devices signed.ini --client-id PUMP7
says out 'it has to show a login signed with its secret'

# match: who answers, who fits too, and by which rule it does not answer
match() {
	wanted=$1
	shift
	expect "$wanted" match --config proxy.ini --devices rules.ini "$@"
}
# by its own login, which goes behind the keys
match 0 --client-id 'x|securemode=3|' --username 'dev_1&a1B2c3D4e5F'
says out "device exact answers (line 4), by the device's own login,\
 dev_1&a1B2c3D4e5F"
match 0 --client-id PUMP7 --username 'dev_1&a1B2c3D4e5F'
says out 'device exact answers (line 4), by client_id="PUMP7"'
match 0 --client-id 'x|securemode=3|' --username 'dev_1&a1B2c3D4e5F' \
	--address 10.0.0.1
says out 'device subnet answers'
says out "device exact fits too (line 4), by the device's own login,\
 dev_1&a1B2c3D4e5F, but match_ keys go before the device's own login"
match 0 --client-id PUMP7 --username u --address 10.0.0.17
silent err
sed -n 1p out | grep -qxF 'device exact answers (line 4), by client_id="PUMP7"' ||
	failed 'not the first line'
says out 'it may come only from 10.0.0.0/8, 192.0.2.1, 2001:db8::/32'
says out 'it has to show its password'
says_not out 'is refused'
says out 'device any fits too (line 10), by client_id="Pump7", match_case = no,\
 but match_case = yes goes before no'
says out 'device place fits too (line 25), by address="10.0.0.16/28", but\
 one with a client id goes first, then one with a user name'
[ "$(grep -c 'fits too' out)" -eq 3 ] || failed 'not three others'
match 0 --address ::ffff:10.0.0.17
says out 'device place answers (line 25), by address="10.0.0.16/28"'
says out 'device subnet fits too (line 20), by address="10.0.0.0/24", but an\
 address goes before a longer prefix before a shorter one'
match 0 --client-id pUMP7
says out 'device any answers'
says out 'it is refused, entry_disabled: '
match 0 --client-id PUMP7 --address 192.0.2.2
says out 'it is refused, address_not_allowed: '
match 0 --client-id Eve --username 'Ada "x"'
says out 'device pair answers (line 30), by client_id="Eve" username="Ada'
silent err

# match: nobody answers
match 1 --client-id Eve --address 11.0.0.1
says out 'no entry answers; one would with match_client_id = Eve, or\
 match_address = 11.0.0.1'
says out 'device pair (line 30) also needs username="Ada'
match 1 --username 'ADA "X"' --client-id EVE
says out ' to the letter, or match_case = no'
match 1 --client-id '' --username nobody
[ "$(cat out)" = 'no entry answers; one would with match_username = nobody' ] ||
	failed 'somebody is near'
for i in 1 2 3 4 5 6 7 8 9 10; do
	printf '[device:n%s]\nproduct_key = pk\ndevice_name = name%s\n' $i $i
	printf 'device_secret = not-for-your-eyes\nhost = h\n'
	printf 'match_username = Same\nmatch_client_id = id-%s\n' $i
done >near.ini
chmod 600 near.ini
expect 1 match --config proxy.ini --devices near.ini --username Same
[ "$(grep -c 'also needs' out)" -eq 8 ] || failed 'not eight that are near'
says out 'and 2 more of which a key fits'

# match: wrong usage
expect 2 match --config proxy.ini
says err '--client-id, --username or --address is missing'
for address in '' here 10.0.0.0/8 10.0.0.1:1883; do
	match 2 --address "$address"
	says err 'is no numeric address'
	silent out
done
expect 2 match pump-7 --config proxy.ini --client-id x
expect 3 match --config proxy.ini --devices nowhere.ini --client-id x

# status: what it says when there is nobody to ask (the rest needs a proxy)
expect 1 status --socket "$dir/nobody.sock"
says err "cannot ask at $dir/nobody.sock: there is no such socket"
silent out
: >plain
expect 1 status --socket "$dir/plain"
says err 'nobody listens there'
printf '[admin]\nsocket = %s/own.sock\n' "$dir" >admin.ini
expect 1 status --config admin.ini
says err "$dir/own.sock"
printf '[admin]\nsocket = none\n' >admin.ini
expect 1 status --json --config admin.ini
says err 'socket = none'
expect 2 status pump-7 pump-8
expect 2 status --devices devices.ini
expect 3 check --config admin.ini --devices nowhere.ini
printf '[admin]\nsocket = admin.sock\n' >admin.ini
expect 3 check --config admin.ini --devices devices.ini
says err 'admin.ini:2: error: socket: none is allowed, or a path'

# a full disk is a failure
if [ -w /dev/full ]; then
	code=0
	$EMULATOR "$proxy" check --config proxy.ini >/dev/full 2>err || code=$?
	[ $code -eq 1 ] || failed 'nobody noticed that the output was lost'
	says err 'could not write'
fi
