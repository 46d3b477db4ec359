#!/bin/sh
# The command line as scripts and people meet it: exit codes, messages, and no
# secret in any output. Runs where the program was built.
set -eu
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
	"$proxy" "$@" >out 2>err || code=$?
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
for command in run check sign; do
	expect 0 help
	says out "  $command "
	expect 0 $command --help
	says out "Usage: mqtt-wss-proxy $command"
	says out '--devices FILE'
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
says err "unrecognized option '--color'"
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
expect 3 run --config proxy.ini --devices nowhere.ini
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

# a full disk is a failure
if [ -w /dev/full ]; then
	code=0
	"$proxy" check --config proxy.ini >/dev/full 2>err || code=$?
	[ $code -eq 1 ] || failed 'nobody noticed that the output was lost'
	says err 'could not write'
fi
