#include "server/first_packet.h"

#include "base/escape.h"
#include "codec/mqtt.h"

#include <ctype.h>
#include <string.h>

/* "GET / HTTP/1.1", "POST ..." */
static bool
looks_like_http(struct span in)
{
	size_t i = 0;

	while (i < in.n && isupper(in.p[i]))
		i++;
	return i >= 3 && i <= 7 && i < in.n && in.p[i] == ' ';
}

/* What came instead of a CONNECT. */
static bool
explain_stranger(struct span in, struct fault *why)
{
	char text[64];

	if (in.n >= 2 && in.p[0] == 0x16 && in.p[1] == 0x03) /* RFC 8446 5.1 */
		return fault_set(why, R_TLS_ON_MQTT_PORT, "TLS ClientHello");
	if (in.n >= 6 && (memcmp(in.p, "PROXY ", 6) == 0 ||
			     memcmp(in.p, "\r\n\r\n\0\r", 6) == 0))
		return fault_set(why, R_NOT_MQTT,
		    "a header of the PROXY protocol; the listener does not"
		    " have proxy_protocol = yes");
	(void)escape(
	    text, sizeof(text), (struct span){in.p, in.n < 24 ? in.n : 24});
	if (looks_like_http(in))
		return fault_set(why, R_HTTP_ON_MQTT_PORT, "%s", text);
	return fault_set(
	    why, R_NOT_MQTT, "it begins with %s, not with a CONNECT", text);
}

enum parse
first_packet_read(struct span in, uint64_t max_bytes, struct mqtt_connect *c,
    size_t *n, struct fault *why)
{
	struct mqtt_header h;
	uint64_t total;

	*c = (struct mqtt_connect){0};
	if (in.n == 0)
		return PARSE_MORE;
	if (in.p[0] != MQTT_CONNECT << 4) { /* MQTT-3.1.0-1 */
		(void)explain_stranger(in, why);
		return PARSE_BAD;
	}
	switch (mqtt_header_read(in, &h)) {
	case PARSE_MORE:
		return PARSE_MORE;
	case PARSE_BAD:
		(void)fault_set(why, R_NOT_MQTT,
		    "a CONNECT with an impossible remaining length");
		return PARSE_BAD;
	case PARSE_OK:
		break;
	}
	total = h.header_bytes + (uint64_t)h.remaining;
	if (total > max_bytes) {
		(void)fault_set(why, R_CONNECT_TOO_BIG,
		    "%llu bytes announced, %llu allowed",
		    (unsigned long long)total, (unsigned long long)max_bytes);
		return PARSE_BAD;
	}
	if (in.n < total)
		return PARSE_MORE;
	*n = (size_t)total;
	return mqtt_connect_read((struct span){in.p, *n}, c, why) ? PARSE_OK
								  : PARSE_BAD;
}
