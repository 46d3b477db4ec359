/*
 * Packets are written as words here: "P1 5" and "P2 5" are PUBLISHes with their
 * QoS and packet identifier, "p1" and "p2" the same with DUP, "REL 5" a PUBREL,
 * "ACK 5 87" a PUBACK of the cloud with its reason code. What comes of them is
 * the first byte that goes on, or the bytes that the device gets.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with.
 */
#include "session/inbound.h"

#include "random_packet.h"

#include <stdio.h>
#include <stdlib.h>

static bool no_memory;

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_realloc(void *p, size_t n)
{
	return no_memory ? NULL : __real_realloc(p, n);
}

enum { FIRST_PLACES = 4 }; /* kept when it is empty */

static struct inbound in;
static uint8_t level;
static struct inbound_step got;

static const char *
outcome(void)
{
	static char text[32];

	switch (got.move) {
	case INBOUND_PASS:
		(void)snprintf(text, sizeof(text), "pass %02x", got.first_byte);
		return text;
	case INBOUND_ANSWER:
		for (size_t i = 0; i < got.answer_bytes; i++)
			(void)snprintf(text + 2 * i, sizeof(text) - 2 * i,
			    "%02x", got.answer[i]);
		return text;
	case INBOUND_TAKEN:
		return "taken";
	case INBOUND_WAIT:
		return "wait";
	case INBOUND_BAD:
		return got.why.why == R_BAD_CLOUD_PACKET ? "bad cloud" : "bad";
	case INBOUND_NO_MEMORY:
		break;
	}
	return "no memory";
}

static const char *
publish(uint16_t packet_id, uint8_t qos, bool dup)
{
	const struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
	    .packet_id = packet_id,
	    .qos = qos,
	    .dup = dup};

	inbound_publish(&in, &p, level, &got);
	return outcome();
}

static const char *
pubrel(uint16_t packet_id)
{
	const struct mqtt_packet p = {
	    .header.type = MQTT_PUBREL, .packet_id = packet_id, .qos = 1};

	inbound_pubrel(&in, &p, level, &got);
	return outcome();
}

static const char *
puback(uint16_t packet_id, uint8_t code)
{
	const struct mqtt_packet p = {.header.type = MQTT_PUBACK,
	    .packet_id = packet_id,
	    .reason_code = code};

	inbound_puback(&in, &p, &got);
	return outcome();
}

static const char *
step(const char *words)
{
	char type[8];
	unsigned packet_id, code = 0;

	assert_true(sscanf(words, "%7s %u %x", type, &packet_id, &code) >= 2);
	if (strcmp(type, "REL") == 0)
		return pubrel((uint16_t)packet_id);
	if (strcmp(type, "ACK") == 0)
		return puback((uint16_t)packet_id, (uint8_t)code);
	return publish(
	    (uint16_t)packet_id, (uint8_t)(type[1] - '0'), type[0] == 'p');
}

#define assert_step(words, want) assert_string_equal(step(words), want)

static void
begin(uint8_t l)
{
	level = l;
	inbound_forget(&in);
	memset(&in, 0, sizeof(in));
}

static void
assert_empty(void)
{
	assert_int_equal(in.n, 0);
	assert_int_equal(in.qos2, 0);
	assert_int_equal(in.in_flight, 0);
	assert_true(in.cap <= FIRST_PLACES);
	inbound_disconnect(&in);
	assert_null(in.records);
}

/* ---- rules ---- */

static void
test_qos1_passes(void **state)
{
	(void)state;
	begin(4);
	assert_step("P1 5", "pass 32");
	assert_step("P1 6", "pass 32");
	assert_step("p1 5", "pass 3a");
	assert_int_equal(in.in_flight, 3);
	assert_step("ACK 5", "pass 40");
	assert_step("ACK 5", "pass 40");
	assert_step("ACK 5", "bad cloud");
	assert_string_equal(got.why.text, "packet identifier 5: PUBACK, but "
					  "nothing waits for it "
					  "(MQTT-2.2.1-5)");
	assert_step("ACK 6", "pass 40");
	assert_empty();
}

static void
test_qos2_goes_up_once(void **state)
{
	(void)state;
	begin(4);
	assert_step("P2 5", "pass 32");
	assert_step("p2 5", "taken");
	assert_step("ACK 5", "pass 50");
	assert_int_equal(in.in_flight, 0);
	assert_step("p2 5", "50020005");
	assert_step("P2 5", "50020005"); /* MQTT-4.3.3-10 */
	assert_step("ACK 5", "bad cloud");
	assert_step("REL 5", "70020005");
	assert_empty();
	assert_step("P2 5", "pass 32");
	inbound_forget(&in);
	assert_empty();
}

static void
test_retain_stays(void **state)
{
	const struct mqtt_packet p = {.header.type = MQTT_PUBLISH,
	    .packet_id = 1,
	    .qos = 2,
	    .retain = true};

	(void)state;
	begin(4);
	inbound_publish(&in, &p, level, &got);
	assert_string_equal(outcome(), "pass 33");
	inbound_forget(&in);
}

static void
test_pubrel_of_an_unknown_identifier(void **state)
{
	(void)state;
	begin(3);
	assert_step("REL 5", "70020005");
	begin(5);
	assert_step("REL 5", "7003000592");
	assert_step("P1 5", "pass 32");
	assert_step("REL 5", "7003000592");
	assert_step("ACK 5", "pass 40");
	assert_step("P2 5", "pass 32");
	assert_step("ACK 5", "pass 50");
	assert_step("REL 5", "70020005");
	assert_step("REL 5", "7003000592");
	assert_empty();
}

static void
test_pubrel_before_pubrec(void **state)
{
	(void)state;
	begin(5);
	assert_step("P2 5", "pass 32");
	assert_step("REL 5", "bad");
	assert_string_equal(
	    got.why.text, "packet identifier 5: PUBREL before PUBREC (4.3.3)");
	inbound_forget(&in);
}

static void
test_the_cloud_refuses(void **state)
{
	(void)state;
	begin(5);
	assert_step("P2 5", "pass 32");
	assert_step("ACK 5 97", "pass 50");
	assert_empty();
	assert_step("P2 5", "pass 32"); /* a new message */
	assert_step("ACK 5 10", "pass 50");
	assert_step("p2 5", "50020005");
	assert_step("REL 5", "70020005");
	assert_step("P1 5", "pass 32");
	assert_step("ACK 5 97", "pass 40");
	assert_empty();
}

static void
test_an_identifier_at_two_qos(void **state)
{
	(void)state;
	begin(4);
	assert_step("P1 1", "pass 32");
	assert_step("P2 1", "bad");
	assert_string_equal(got.why.text,
	    "packet identifier 1: a PUBLISH at another QoS has it "
	    "(MQTT-2.2.1-3)");
	assert_step("P2 2", "pass 32");
	assert_step("P1 2", "bad");
	assert_step("ACK 2", "pass 50");
	assert_step("P1 2", "bad");
	inbound_forget(&in);
}

/* ---- connections that break ---- */

static void
test_acknowledged_before_the_break(void **state)
{
	(void)state;
	begin(5);
	assert_step("P2 5", "pass 32");
	assert_step("ACK 5", "pass 50");
	inbound_disconnect(&in);
	assert_step("p2 5", "50020005");
	inbound_disconnect(&in);
	assert_step("REL 5", "70020005");
	inbound_disconnect(&in);
	assert_step("REL 5", "7003000592");
	assert_empty();
}

static void
test_not_acknowledged_before_the_break(void **state)
{
	(void)state;
	begin(5);
	assert_step("P2 5", "pass 32");
	assert_step("P1 6", "pass 32");
	inbound_disconnect(&in);
	assert_int_equal(in.in_flight, 0);
	assert_step("ACK 5", "bad cloud");
	assert_step("ACK 6", "bad cloud");
	assert_step("p2 5", "pass 3a");
	assert_step("p2 5", "taken");
	inbound_disconnect(&in);
	assert_step("P2 5", "pass 3a"); /* it has been sent before */
	assert_step("ACK 5", "pass 50");
	assert_step("REL 5", "70020005");
	assert_empty();
	/* a device that says it has been acknowledged, and has not */
	assert_step("P2 5", "pass 32");
	inbound_disconnect(&in);
	assert_step("REL 5", "7003000592");
	assert_empty();
}

/* It uses the identifier for something else: it has lost its memory, and would
   never finish the handshake. */
static void
test_forgotten_by_the_device(void **state)
{
	(void)state;
	begin(4);
	assert_step("P2 5", "pass 32");
	assert_step("P2 6", "pass 32");
	assert_step("ACK 6", "pass 50");
	inbound_disconnect(&in);
	assert_step("P1 5", "pass 32");
	assert_step("P1 6", "pass 32");
	assert_int_equal(in.qos2, 0);
	assert_step("ACK 5", "pass 40");
	assert_step("ACK 6", "pass 40");
	assert_empty();
}

static void
test_a_clean_session(void **state)
{
	(void)state;
	begin(4);
	assert_step("P2 5", "pass 32");
	assert_step("ACK 5", "pass 50");
	inbound_forget(&in);
	assert_empty();
	assert_step("P2 5", "pass 32");
	inbound_forget(&in);
}

/* ---- bounds ---- */

/* All acknowledged by the cloud, and none released. */
static void
fill_qos2(void)
{
	for (uint16_t i = 1; i <= INBOUND_QOS2_MAX; i++) {
		assert_string_equal(publish(i, 2, false), "pass 32");
		assert_string_equal(puback(i, 0), "pass 50");
	}
}

static void
test_qos2_is_bounded(void **state)
{
	(void)state;
	begin(4);
	fill_qos2();
	assert_step("P2 1000", "bad");
	assert_step("REL 7", "70020007");
	assert_step("P2 1000", "pass 32");
	inbound_forget(&in);
	begin(5);
	fill_qos2();
	assert_step("P2 1000", "500303e897");
	assert_int_equal(in.qos2, INBOUND_QOS2_MAX);
	assert_step("P1 1000", "pass 32");
	inbound_forget(&in);
}

/* The oldest that the device has not come back to. */
static void
test_forgotten_handshakes_make_room(void **state)
{
	(void)state;
	begin(5);
	fill_qos2();
	inbound_disconnect(&in);
	assert_step("p2 1", "50020001");
	assert_step("P2 1000", "pass 32");
	assert_step("p2 3", "50020003");
	assert_step("P2 1001", "pass 32");
	assert_step("REL 2", "7003000292");
	assert_step("REL 4", "7003000492");
	assert_step("REL 1", "70020001");
	assert_step("REL 3", "70020003");
	for (uint16_t i = 5; i <= INBOUND_QOS2_MAX; i++)
		assert_int_equal(publish(i, 2, true)[1], '0');
	for (uint16_t i = 1; i <= 2; i++)
		assert_string_equal(publish(i, 2, false), "pass 32");
	assert_step("P2 3", "5003000397");
	inbound_forget(&in);
}

static void
test_in_flight_is_bounded(void **state)
{
	(void)state;
	begin(4);
	assert_step("P2 2", "pass 32");
	inbound_disconnect(&in);
	for (uint16_t i = 0; i < INBOUND_IN_FLIGHT_MAX; i++)
		assert_string_equal(
		    publish((uint16_t)(1000 + i / 2), 1, false), "pass 32");
	assert_step("P1 1", "wait");
	assert_step("P2 1", "wait");
	assert_step("p2 2", "wait");
	assert_int_equal(inbound_pick_id(&in), 0);
	assert_step("ACK 1000", "pass 40");
	assert_step("p2 2", "pass 3a");
	assert_int_equal(in.in_flight, INBOUND_IN_FLIGHT_MAX);
	inbound_forget(&in);
}

static void
test_without_memory(void **state)
{
	(void)state;
	begin(4);
	no_memory = true;
	assert_step("P1 1", "no memory");
	assert_step("P2 2", "no memory");
	assert_int_equal(inbound_pick_id(&in), 0);
	no_memory = false;
	assert_empty();
	assert_step("P1 1", "pass 32");
	inbound_forget(&in);
}

/* ---- the proxy's own ---- */

static void
test_own_identifiers(void **state)
{
	uint16_t a, b;

	(void)state;
	begin(4);
	assert_step("P1 65535", "pass 32");
	assert_step("P2 65533", "pass 32");
	a = inbound_pick_id(&in);
	b = inbound_pick_id(&in);
	assert_int_equal(a, 65534);
	assert_int_equal(b, 65532);
	assert_int_equal(in.in_flight, 4);
	assert_step("P1 65534", "wait");
	assert_step("P2 65534", "wait");
	assert_step("ACK 65534", "taken");
	assert_step("P1 65534", "pass 32");
	inbound_return(&in, b);
	inbound_return(&in, b);
	inbound_return(&in, 65533);
	assert_int_equal(in.in_flight, 3);
	assert_int_equal(inbound_pick_id(&in), 65531);
	inbound_disconnect(&in);
	assert_step("ACK 65531", "bad cloud");
	inbound_forget(&in);
	in.picked = 2;
	assert_int_equal(inbound_pick_id(&in), 1);
	assert_int_equal(inbound_pick_id(&in), 65535);
	inbound_forget(&in);
}

/* ---- any ---- */

enum {
	RUNS = 400,
	STEPS = 5000, /* of each */
	IDS = 300,
	TO_DEVICE = 4096,
	TO_CLOUD = INBOUND_IN_FLIGHT_MAX
};

/* The device's view of one of its identifiers. */
enum phase { IDLE, PUBLISHED, RELEASED };

struct handshake {
	enum phase phase;
	bool resend;        /* since the connection broke */
	bool forgotten;     /* it was not idle when the device forgot it */
	unsigned acks;      /* good ones of the cloud */
	unsigned refusals;  /* others */
	unsigned qos1_due;  /* PUBACKs */
	unsigned to_device; /* packets on their way */
};

struct word {
	enum mqtt_type type;
	uint16_t packet_id;
	uint8_t code;
};

enum kind { OWN, QOS1, QOS2 };

static struct world {
	struct handshake h[IDS];
	unsigned ids;
	uint16_t first_id;
	struct word to_device[TO_DEVICE];
	unsigned first, n;
	struct {
		uint16_t packet_id;
		enum kind kind;
	} to_cloud[TO_CLOUD];
	unsigned cloud_n;
	unsigned handshakes; /* finished */
	unsigned refused;
	unsigned resent;
} w;

static struct handshake *
at(uint16_t packet_id)
{
	assert_true(packet_id >= w.first_id && packet_id < w.first_id + w.ids);
	return &w.h[packet_id - w.first_id];
}

static uint16_t
any_id(void)
{
	return (uint16_t)(w.first_id + below(w.ids));
}

static bool
goes_up(uint16_t packet_id, enum kind kind)
{
	for (unsigned i = 0; i < w.cloud_n; i++)
		if (w.to_cloud[i].packet_id == packet_id &&
		    w.to_cloud[i].kind == kind)
			return true;
	return false;
}

static void
put_up(uint16_t packet_id, enum kind kind)
{
	assert_true(w.cloud_n < TO_CLOUD);
	w.to_cloud[w.cloud_n].packet_id = packet_id;
	w.to_cloud[w.cloud_n++].kind = kind;
}

static void
tell_device(enum mqtt_type type, uint16_t packet_id, uint8_t code)
{
	assert_true(w.n < TO_DEVICE);
	w.to_device[(w.first + w.n++) % TO_DEVICE] =
	    (struct word){type, packet_id, code};
	at(packet_id)->to_device++;
}

static void
tell_answer(enum mqtt_type type, uint16_t packet_id)
{
	struct mqtt_packet p;

	assert_true(
	    mqtt_packet_read((struct span){got.answer, got.answer_bytes}, level,
		MQTT_FROM_SERVER, &p, NULL));
	assert_int_equal(p.header.type, type);
	assert_int_equal(p.packet_id, packet_id);
	tell_device(type, packet_id, p.reason_code);
}

/* The connection breaks, and there is another. */
static void
reconnect(void)
{
	bool clean = below(4) == 0, reboot = !clean && below(4) == 0;

	if (clean)
		inbound_forget(&in);
	else
		inbound_disconnect(&in);
	w.n = w.cloud_n = 0;
	for (unsigned i = 0; i < w.ids; i++) {
		struct handshake *h = &w.h[i];

		h->to_device = h->qos1_due = 0;
		h->resend = h->phase != IDLE && !clean && !reboot;
		if (clean)
			h->forgotten = false;
		else if (reboot && h->phase != IDLE)
			h->forgotten = true;
		if (clean || reboot)
			h->phase = IDLE;
	}
}

/* False: it has to wait, or the connection is another now. */
static bool
send_qos2(uint16_t packet_id, bool dup)
{
	struct handshake *h = at(packet_id);
	bool known = h->forgotten;

	(void)publish(packet_id, 2, dup);
	switch (got.move) {
	case INBOUND_PASS:
		assert_int_equal(got.first_byte & 0xf7, 0x32);
		if (!known)
			assert_int_equal(got.first_byte >> 3 & 1, dup);
		assert_int_equal(h->acks, 0);
		assert_false(goes_up(packet_id, QOS2));
		put_up(packet_id, QOS2);
		w.resent += dup;
		return true;
	case INBOUND_TAKEN:
		assert_true(goes_up(packet_id, QOS2));
		return true;
	case INBOUND_ANSWER:
		tell_answer(MQTT_PUBREC, packet_id);
		if (got.answer_bytes == 4) {
			assert_true(h->acks == 1 || known);
			return true;
		}
		assert_int_equal(level, 5);
		assert_int_equal(in.qos2, INBOUND_QOS2_MAX);
		h->refusals++;
		return true;
	case INBOUND_WAIT:
		assert_true(goes_up(packet_id, OWN) ||
			    w.cloud_n == INBOUND_IN_FLIGHT_MAX);
		return false;
	case INBOUND_BAD:
		assert_true(level < 5 && in.qos2 == INBOUND_QOS2_MAX);
		h->phase = IDLE;
		reconnect();
		return false;
	case INBOUND_NO_MEMORY:
		break;
	}
	fail();
	return false;
}

static void
send_pubrel(uint16_t packet_id)
{
	(void)pubrel(packet_id);
	assert_int_equal(got.move, INBOUND_ANSWER);
	tell_answer(MQTT_PUBCOMP, packet_id);
}

static void
new_qos2(void)
{
	uint16_t packet_id = any_id();
	struct handshake *h = at(packet_id);

	if (h->phase != IDLE || h->to_device > 0 || h->qos1_due > 0)
		return;
	h->acks = h->refusals = 0;
	if (send_qos2(packet_id, false))
		h->phase = PUBLISHED;
}

static void
new_qos1(void)
{
	uint16_t packet_id = any_id();
	struct handshake *h = at(packet_id);
	bool own = goes_up(packet_id, OWN);

	if (h->phase != IDLE || h->to_device > 0)
		return;
	(void)publish(packet_id, 1, false);
	if (own || w.cloud_n == INBOUND_IN_FLIGHT_MAX) {
		assert_int_equal(got.move, INBOUND_WAIT);
		return;
	}
	assert_string_equal(outcome(), "pass 32");
	put_up(packet_id, QOS1);
	h->qos1_due++;
	h->forgotten = false;
}

static void
send_again(void)
{
	uint16_t packet_id = any_id();
	struct handshake *h = at(packet_id);

	if (h->resend && h->phase == RELEASED) {
		h->resend = false;
		send_pubrel(packet_id);
	} else if (h->phase == PUBLISHED && (h->resend || level < 5)) {
		/* at level 5 not while connected (MQTT-4.4.0-1) */
		if (send_qos2(packet_id, true))
			h->resend = false;
	}
}

static void
stray_pubrel(void)
{
	uint16_t packet_id = any_id();
	struct handshake *h = at(packet_id);

	if (h->phase != IDLE || h->to_device > 0)
		return;
	send_pubrel(packet_id);
	if (!h->forgotten && level == 5)
		assert_int_equal(got.answer[got.answer_bytes - 1], 0x92);
	h->forgotten = false;
}

static void
device_reads(void)
{
	struct word word = w.to_device[w.first];
	struct handshake *h;

	if (w.n == 0)
		return;
	w.first = (w.first + 1) % TO_DEVICE;
	w.n--;
	h = at(word.packet_id);
	h->to_device--;
	if (word.type == MQTT_PUBACK) {
		assert_true(h->qos1_due-- > 0);
	} else if (word.type == MQTT_PUBREC && word.code >= 0x80) {
		assert_true(h->refusals > 0);
		w.refused++;
		h->phase = IDLE;
		h->resend = false;
	} else if (word.type == MQTT_PUBREC && h->phase != IDLE) {
		assert_true(h->acks == 1 || h->forgotten);
		h->phase = RELEASED;
		h->resend = false;
		send_pubrel(word.packet_id);
	} else if (word.type == MQTT_PUBCOMP && h->phase == RELEASED) {
		assert_true(h->acks == 1 || h->forgotten);
		h->phase = IDLE;
		h->resend = h->forgotten = false;
		w.handshakes++;
	}
}

static void
cloud_answers(void)
{
	uint16_t packet_id = w.to_cloud[0].packet_id;
	enum kind kind = w.to_cloud[0].kind;
	uint8_t code = level == 5 && below(4) == 0 ? 0x97 : 0;

	if (w.cloud_n == 0)
		return;
	memmove(
	    w.to_cloud, w.to_cloud + 1, --w.cloud_n * sizeof(w.to_cloud[0]));
	(void)puback(packet_id, code);
	if (kind == OWN) {
		assert_int_equal(got.move, INBOUND_TAKEN);
	} else if (kind == QOS1) {
		assert_string_equal(outcome(), "pass 40");
		tell_device(MQTT_PUBACK, packet_id, code);
	} else {
		assert_string_equal(outcome(), "pass 50");
		if (code == 0)
			at(packet_id)->acks++;
		else
			at(packet_id)->refusals++;
		tell_device(MQTT_PUBREC, packet_id, code);
	}
}

static void
own_publish(void)
{
	uint16_t packet_id = inbound_pick_id(&in);

	if (packet_id == 0)
		return;
	for (unsigned kind = OWN; kind <= QOS2; kind++)
		assert_false(goes_up(packet_id, kind));
	if (below(3) == 0)
		inbound_return(&in, packet_id);
	else
		put_up(packet_id, OWN);
}

static void
seed_random(void)
{
	const char *seed = getenv("TEST_SEED");

	random_seed = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1;
}

static void
any_step(unsigned haste)
{
	switch (below(12 + 2 * haste)) {
	case 0:
		new_qos1();
		break;
	case 1:
	case 2:
		new_qos2();
		break;
	case 3:
	case 4:
		send_again();
		break;
	case 5:
		stray_pubrel();
		break;
	case 6:
		if (below(10) == 0)
			own_publish();
		break;
	case 7:
		if (below(20) == 0)
			reconnect();
		break;
	case 8:
	case 9:
		cloud_answers();
		break;
	default:
		device_reads();
	}
	assert_int_equal(in.in_flight, w.cloud_n);
	assert_true(in.qos2 <= INBOUND_QOS2_MAX);
	if (in.n == 0)
		assert_true(in.cap <= FIRST_PLACES);
}

/* Exactly one PUBLISH is acknowledged in each handshake, and PUBREC does not
   come before, whatever breaks. */
static void
test_any_schedule(void **state)
{
	unsigned handshakes = 0, refused = 0, resent = 0;

	(void)state;
	seed_random();
	for (unsigned run = 0; run < RUNS; run++) {
		unsigned haste = below(4);

		begin((uint8_t)(3 + below(3)));
		memset(&w, 0, sizeof(w));
		w.ids = below(8) == 0 ? IDS : 1 + below(12);
		w.first_id = (uint16_t)(below(2) == 0 ? 1 : 65536 - w.ids);
		for (unsigned i = 0; i < STEPS; i++)
			any_step(haste);
		inbound_forget(&in);
		handshakes += w.handshakes;
		refused += w.refused;
		resent += w.resent;
	}
	assert_true(handshakes > RUNS * STEPS / 50);
	assert_true(refused > 1000 && resent > 1000);
}

/* Whatever is sent: what went up is what may be acknowledged. */
static void
test_any_packets(void **state)
{
	static unsigned due[400];

	(void)state;
	begin(5);
	memset(due, 0, sizeof(due));
	for (unsigned i = 0; i < RUNS * 1000; i++) {
		uint16_t id = (uint16_t)(1 + below(ARRAY_LENGTH(due) - 1));
		unsigned sum = 0;

		if (below(3000) == 0) {
			memset(due, 0, sizeof(due));
			inbound_disconnect(&in);
		}
		switch (below(4)) {
		case 0:
			(void)publish(id, (uint8_t)(1 + below(2)), below(2));
			due[id] += got.move == INBOUND_PASS;
			break;
		case 1:
			(void)pubrel(id);
			assert_true(got.move == INBOUND_ANSWER ||
				    (got.move == INBOUND_BAD && due[id] == 1));
			break;
		default:
			(void)puback(id, below(2) ? 0x80 : 0);
			assert_int_equal(
			    got.move, due[id] > 0 ? INBOUND_PASS : INBOUND_BAD);
			due[id] -= due[id] > 0;
		}
		if (i % 64 == 0) {
			for (unsigned k = 1; k < ARRAY_LENGTH(due); k++)
				sum += due[k];
			assert_int_equal(in.in_flight, sum);
		}
	}
	inbound_forget(&in);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_qos1_passes),
	    cmocka_unit_test(test_qos2_goes_up_once),
	    cmocka_unit_test(test_retain_stays),
	    cmocka_unit_test(test_pubrel_of_an_unknown_identifier),
	    cmocka_unit_test(test_pubrel_before_pubrec),
	    cmocka_unit_test(test_the_cloud_refuses),
	    cmocka_unit_test(test_an_identifier_at_two_qos),
	    cmocka_unit_test(test_acknowledged_before_the_break),
	    cmocka_unit_test(test_not_acknowledged_before_the_break),
	    cmocka_unit_test(test_forgotten_by_the_device),
	    cmocka_unit_test(test_a_clean_session),
	    cmocka_unit_test(test_qos2_is_bounded),
	    cmocka_unit_test(test_forgotten_handshakes_make_room),
	    cmocka_unit_test(test_in_flight_is_bounded),
	    cmocka_unit_test(test_without_memory),
	    cmocka_unit_test(test_own_identifiers),
	    cmocka_unit_test(test_any_schedule),
	    cmocka_unit_test(test_any_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
