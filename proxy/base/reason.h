/*
 * reason: why a connection was refused or a session ended. One list makes the
 * enum, the word that logs and status show, the codes a waiting device gets in
 * its CONNACK, the code an MQTT 5 device gets in DISCONNECT, and the hint that
 * tells an administrator what to mend.
 *
 * CONNACK code 0 means: the device gets no CONNACK (its bytes were no readable
 * CONNECT, or it is gone). DISCONNECT code 0 means: just close. The codes are
 * those of MQTT 3.1.1 table 3.1 and of MQTT 5.0 sections 3.2.2.2 and 3.14.2.1.
 */
#ifndef PROXY_BASE_REASON_H
#define PROXY_BASE_REASON_H

#include <stdint.h>

/* clang-format off */
#define REASONS(X)                                                             \
/*	id                     word                   CONNACK    DISC  hint                                                                   \
	                                              3.x   5.0  5.0   */                                                                     \
X(R_NONE,                 "none",                 0, 0x00, 0x00, "")                                                                   \
/* the device and what it sent */                                                                                                       \
X(R_DEVICE_LEFT,          "device_left",          0, 0x00, 0x00, "the device said DISCONNECT")                                         \
X(R_DEVICE_CLOSED,        "device_closed",        0, 0x00, 0x00, "the device closed its connection without DISCONNECT")                \
X(R_DEVICE_LOST,          "device_lost",          0, 0x00, 0x00, "the connection to the device broke")                                 \
X(R_DEVICE_SILENT,        "device_silent",        0, 0x00, 0x8D, "nothing came from the device for 1.5 times its keep-alive")          \
X(R_DEVICE_STUCK,         "device_stuck",         0, 0x00, 0x00, "the device did not take what was sent to it")                        \
X(R_NOT_MQTT,             "not_mqtt",             0, 0x00, 0x00, "this port speaks plain MQTT only")                                   \
X(R_HTTP_ON_MQTT_PORT,    "http_on_mqtt_port",    0, 0x00, 0x00, "an HTTP client reached the MQTT port")                               \
X(R_TLS_ON_MQTT_PORT,     "tls_on_mqtt_port",     0, 0x00, 0x00, "the device tries TLS; set it to plain MQTT for this port")           \
X(R_BAD_PROXY_HEADER,     "bad_proxy_header",     0, 0x00, 0x00, "the listener has proxy_protocol = yes, and no such header came; set the load balancer to send-proxy-v2") \
X(R_PROXY_NOT_TRUSTED,    "proxy_not_trusted",    0, 0x00, 0x00, "the listener has proxy_protocol = yes, and its proxy_from does not have the address") \
X(R_LISTENER_NOT_ALLOWED, "listener_not_allowed", 0, 0x00, 0x00, "allow_from of the listener does not have the address") \
X(R_CONNECT_TIMEOUT,      "connect_timeout",      0, 0x00, 0x00, "no complete CONNECT arrived in time ([limits] connect_timeout)")     \
X(R_CONNECT_TOO_BIG,      "connect_too_big",      0, 0x00, 0x00, "the CONNECT is over [limits] connect_max")                           \
X(R_BAD_CONNECT,          "bad_connect",          0, 0x81, 0x00, "the CONNECT breaks the MQTT standard")                               \
X(R_UNSUPPORTED_LEVEL,    "unsupported_level",    1, 0x84, 0x00, "the proxy speaks MQTT 3.1, 3.1.1 and 5.0")                           \
X(R_UNKNOWN_DEVICE,       "unknown_device",       5, 0x87, 0x00, "add an entry that matches its client id, user name or address")                     \
X(R_NO_MAP,               "no_map",               3, 0x88, 0x00, "there is no devices.ini yet; devices are let in once it is there") \
X(R_ENTRY_DISABLED,       "entry_disabled",       5, 0x87, 0x87, "the device's entry, or its product, says enabled = no in devices.ini") \
X(R_ADDRESS_NOT_ALLOWED,  "address_not_allowed",  5, 0x87, 0x87, "allow_from of the device's entry, or of its product, does not have the address") \
X(R_BAD_PASSWORD,         "bad_password",         5, 0x87, 0x00, "the device's password is not the one of its entry in devices.ini")   \
X(R_BAD_SIGNATURE,        "bad_signature",        5, 0x87, 0x00, "verify_login: the device's login is not signed with its entry's device_secret, or not for that device") \
X(R_BAD_PACKET,           "bad_packet",           0, 0x00, 0x81, "the device sent bytes that are no MQTT packet")                      \
X(R_PACKET_TOO_BIG,       "packet_too_big",       0, 0x00, 0x95, "the packet is over [limits] packet_max")                             \
X(R_SECOND_CONNECT,       "second_connect",       0, 0x00, 0x82, "a device may send CONNECT only once on a connection")                \
X(R_TAKEN_OVER,           "taken_over",           3, 0x88, 0x8E, "the same device connected again; the newer connection stays")        \
X(R_SECOND_DEVICE,        "second_device",        3, 0x97, 0x00, "second_device = refuse, and a device of the same entry is connected; give each device an entry of its own") \
X(R_TAKE_OVER_LOOP,       "take_over_loop",       3, 0x97, 0x00, "two devices share this entry and throw each other out; give each an entry of its own") \
X(R_SERVER_BUSY,          "server_busy",          3, 0x89, 0x00, "too many passwords wait to be checked (password_hash); it may try again; see whether somebody tries wrong ones") \
X(R_TOO_MANY_FROM_ADDRESS, "too_many_from_address", 3, 0x97, 0x00, "raise [limits] devices_per_address, or see what that machine does") \
X(R_TOO_MANY_DEVICES,     "too_many_devices",     3, 0x97, 0x00, "raise [limits] devices")                                             \
/* the way to the cloud */                                                                                                              \
X(R_RESOLVE_FAILED,       "resolve_failed",       3, 0x88, 0x89, "check the cloud host's name and this machine's DNS")                 \
X(R_RESOLVE_TIMEOUT,      "resolve_timeout",      3, 0x88, 0x89, "the DNS server does not answer")                                     \
X(R_CLOUD_UNREACHABLE,    "cloud_unreachable",    3, 0x88, 0x89, "check the site's route and firewall towards the cloud")              \
X(R_CLOUD_REFUSED,        "cloud_refused",        3, 0x88, 0x89, "nothing listens at that address and port, or a firewall rejects it") \
X(R_CLOUD_RESET,          "cloud_reset",          3, 0x88, 0x89, "the cloud, or a firewall on the way, reset the connection")          \
X(R_TCP_TIMEOUT,          "tcp_timeout",          3, 0x88, 0x89, "no answer to TCP; a firewall may drop it")                           \
X(R_TLS_FAILED,           "tls_failed",           3, 0x88, 0x89, "is it a TLS port? is a middlebox in the way?")                       \
X(R_TLS_TIMEOUT,          "tls_timeout",          3, 0x88, 0x89, "the TLS handshake stalled; a firewall may inspect or drop it")       \
X(R_CERT_UNTRUSTED,       "cert_untrusted",       3, 0x88, 0x89, "set [tls] ca_file, for mqtts [tls_mqtts], to the root that signed it") \
X(R_CERT_EXPIRED,         "cert_expired",         3, 0x88, 0x89, "the cloud's certificate is over, or this machine's clock is wrong")  \
X(R_CERT_NOT_YET_VALID,   "cert_not_yet_valid",   3, 0x88, 0x89, "this machine's clock is probably behind")                            \
X(R_CERT_WRONG_NAME,      "cert_wrong_name",      3, 0x88, 0x89, "the certificate is for another host; check region, instance or host")\
X(R_CERT_NOT_PINNED,      "cert_not_pinned",      3, 0x88, 0x89, "if the change is meant, add the issuer's pin to pin_file; else somebody is in the way") \
X(R_CLOCK_WRONG,          "clock_wrong",          3, 0x88, 0x89, "set this machine's clock; certificates cannot be checked before")   \
X(R_UPGRADE_REFUSED,      "upgrade_refused",      3, 0x88, 0x89, "the server refused the WebSocket; check host and path")              \
X(R_UPGRADE_REDIRECTED,   "upgrade_redirected",   3, 0x88, 0x89, "redirects are not followed; a captive portal may answer")            \
X(R_UPGRADE_NOT_HTTP,     "upgrade_not_http",     3, 0x88, 0x89, "the server does not speak HTTP on that port")                        \
X(R_UPGRADE_BAD_ANSWER,   "upgrade_bad_answer",   3, 0x88, 0x89, "the server's WebSocket answer is wrong; a middlebox may answer")     \
X(R_UPGRADE_TIMEOUT,      "upgrade_timeout",      3, 0x88, 0x89, "the server did not answer the WebSocket request")                    \
X(R_CLOUD_BUSY,          "cloud_busy",           3, 0x88, 0x89, "the server asked not to be dialled for a while; it will be after that") \
X(R_DIAL_RATE,            "dial_rate",            3, 0x97, 0x00, "see why it connects so often; [dial] per_device is what the cloud allows") \
X(R_DIAL_QUEUE,           "dial_queue",           3, 0x97, 0x00, "many devices came at once; it may try again ([dial] per_second)") \
X(R_DIAL_BACKOFF,         "dial_backoff",         3, 0x88, 0x00, "mend what its earlier lines say; a reload ends the wait") \
X(R_LOGIN_REFUSED,        "login_refused",        3, 0x88, 0x00, "the cloud refused this device's login; compare its entry with the cloud's console") \
X(R_LOGIN_TIMEOUT,        "login_timeout",        3, 0x88, 0x89, "the cloud did not answer the login")                                 \
X(R_CLOUD_CLOSED,         "cloud_closed",         3, 0x88, 0x89, "the cloud ended the connection")                                     \
X(R_CLOUD_SILENT,         "cloud_silent",         3, 0x88, 0x89, "the cloud did not answer a ping; the link is dead")                  \
X(R_CLOUD_STUCK,          "cloud_stuck",          3, 0x88, 0x89, "the cloud did not take what was sent to it")                         \
X(R_HOLD_OVER,            "hold_over",            3, 0x88, 0x89, "the link to the cloud did not come back within hold_time; see the reasons of the dials that failed") \
X(R_SESSION_LOST,         "session_lost",         3, 0x88, 0x89, "the cloud has not kept what the device relies on; it has to connect again") \
X(R_BAD_FRAME,            "bad_frame",            3, 0x88, 0x89, "the cloud broke the WebSocket protocol")                             \
X(R_TEXT_MESSAGE,         "text_message",         3, 0x88, 0x89, "the cloud sent a WebSocket text message; MQTT is binary")            \
X(R_BAD_CLOUD_PACKET,     "bad_cloud_packet",     3, 0x88, 0x89, "the cloud sent bytes that are no MQTT packet")                       \
/* the way out of the site: [egress] proxy */                                                                                           \
X(R_EGRESS_UNREACHABLE,   "egress_unreachable",   3, 0x88, 0x89, "the egress proxy itself cannot be reached; check [egress] proxy")    \
X(R_EGRESS_TIMEOUT,       "egress_timeout",       3, 0x88, 0x89, "the egress proxy did not open the tunnel in time")                   \
X(R_EGRESS_AUTH,          "egress_auth",          3, 0x88, 0x89, "check the user in [egress] proxy and its password")                  \
X(R_EGRESS_REFUSED,       "egress_refused",       3, 0x88, 0x89, "have the egress proxy allow CONNECT to the cloud's host and port")   \
X(R_EGRESS_CANNOT_REACH,  "egress_cannot_reach",  3, 0x88, 0x89, "the egress proxy does not get through to the cloud")                 \
X(R_EGRESS_BAD_ANSWER,    "egress_bad_answer",    3, 0x88, 0x89, "is [egress] proxy of the right kind (http, https, socks5) and port?")\
X(R_MESSAGE_TOO_BIG,      "message_too_big",      0, 0x00, 0x95, "the cloud takes no message as big as this one of the device ([contract] message_max)")                     \
X(R_TOPIC_REFUSED,        "topic_refused",        0, 0x00, 0x90, "the cloud takes no topic as long as this one of the device ([contract] topic_max, topic_slashes_max)")                     \
X(R_TOPIC_UNMAPPED,      "topic_unmapped",       0, 0x00, 0x90, "no rule (topic.N. in devices.ini) maps this topic of the device; mqtt-wss-proxy topic says what it does with it")                     \
X(R_QOS_REFUSED,          "qos_refused",          5, 0x9B, 0x9B, "the cloud has no QoS 2, and qos2 = refuse does not let the proxy stand in for it")                     \
/* the proxy itself */                                                                                                                  \
X(R_DRAINING,             "draining",             3, 0x88, 0x8B, "the proxy is shutting down")                                         \
X(R_ENTRY_REMOVED,        "entry_removed",        5, 0x87, 0x87, "the device's entry was taken out of devices.ini")                    \
X(R_ENTRY_CHANGED,        "entry_changed",        3, 0x88, 0x8B, "the device's entry was changed; it may connect again at once")       \
X(R_KICKED,              "kicked",               3, 0x88, 0x98, "an administrator has closed it; it may connect again at once")       \
X(R_OUT_OF_MEMORY,        "out_of_memory",        3, 0x88, 0x97, "the machine is out of memory")                                       \
X(R_NO_DESCRIPTORS,       "no_descriptors",       3, 0x88, 0x97, "raise the limit of open files (LimitNOFILE, ulimit -n)")             \
X(R_CANNOT_LISTEN,       "cannot_listen",       0, 0x00, 0x00, "the port is taken or not allowed; see [listen]")                     \
X(R_BAD_CONFIG,           "bad_config",           0, 0x00, 0x00, "mend the file and line named")                                       \
X(R_INTERNAL,             "internal",             3, 0x88, 0x83, "a fault of the proxy itself; please report it")
/* clang-format on */

#define X(id, word, connack3, connack5, disconnect5, hint) id,
enum reason { REASONS(X) R_COUNT };
#undef X

/* The word that logs, metrics and status show. */
const char *reason_word(enum reason why);

/* One sentence for the administrator; empty for R_NONE. */
const char *reason_hint(enum reason why);

/* CONNACK code for protocol level <level> (3, 4, 5); 0: no CONNACK is due. */
uint8_t reason_connack(enum reason why, uint8_t level);

/* DISCONNECT reason code for an MQTT 5 device; 0: close without one. */
uint8_t reason_disconnect(enum reason why);

#endif
