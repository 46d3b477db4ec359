/*
 * adapt: a life with a contract, on a clock that a test moves: packets made of
 * their fields, and what both sides get of them.
 *
 * To be linked with -Wl,--wrap=clock_mono_ms. The patience of rig.h is of the
 * real clock.
 */
#ifndef TESTS_UNIT_ADAPT_H
#define TESTS_UNIT_ADAPT_H

#include "base/clock.h"

uint64_t __real_clock_mono_ms(void);
uint64_t __wrap_clock_mono_ms(void);
#define clock_mono_ms __real_clock_mono_ms
#include "codec/mqtt_packet.h"

#include "life.h"

enum {
	ADAPT_LEVELS_END = 6,
	ADAPT_WINDOW_MS = 1050,
	ADAPT_PACKETS = 4,
	PING_TIMEOUT_MS = 20 * 1000,
	CLOUD_TIMEOUT_MS = 60 * 1000
};

static struct {
	uint64_t now_ms;
	uint8_t level;
	struct buffer packets[ADAPT_PACKETS]; /* the last ones made */
	unsigned next;
} adapt;

uint64_t
__wrap_clock_mono_ms(void)
{
	return adapt.now_ms;
}

static inline int
adapt_set_up(void **state)
{
	struct life *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return -1;
	adapt.now_ms = 1000 * 1000;
	life_open(l, false);
	*state = l;
	return 0;
}

static inline int
adapt_tear_down(void **state)
{
	struct life *l = *state;

	life_close(l);
	free(l);
	for (unsigned i = 0; i < ADAPT_PACKETS; i++)
		buffer_free(&adapt.packets[i]);
	return 0;
}

/* <timer> fires, if it has been set, <ms> from now. */
static inline void
adapt_fire(struct life *l, struct event *timer, uint64_t ms)
{
	adapt.now_ms += ms;
	assert_true(evtimer_pending(timer, NULL));
	event_active(timer, EV_TIMEOUT, 0);
	rig_settle(&l->rig);
}

/* ---- packets ---- */

/* Valid until ADAPT_PACKETS others have been made. */
static inline struct span
packet_of(const struct mqtt_packet *p)
{
	struct buffer *b = &adapt.packets[adapt.next++ % ADAPT_PACKETS];
	size_t n = mqtt_packet_size(p, adapt.level);
	uint8_t *to;

	buffer_free(b);
	to = buffer_reserve(b, n);
	assert_non_null(to);
	mqtt_packet_write(p, adapt.level, to);
	buffer_commit(b, n);
	return buffer_span(b);
}

#define PACKET(...) packet_of(&(struct mqtt_packet){__VA_ARGS__})

/* A PUBLISH to "t" of a word. */
static inline struct span
publish(uint8_t qos, bool dup, uint16_t id, const char *word)
{
	return PACKET(.header.type = MQTT_PUBLISH, .qos = qos, .dup = dup,
	    .packet_id = id, .topic = SPAN_OF("t"),
	    .payload = span_of_string(word));
}

/* A PUBLISH of so many bytes. */
static inline struct span
publish_big(uint8_t qos, bool dup, uint16_t id, size_t n)
{
	static uint8_t bytes[300 * 1024];

	assert_true(n <= sizeof(bytes));
	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(i * 7);
	return PACKET(.header.type = MQTT_PUBLISH, .qos = qos, .dup = dup,
	    .packet_id = id, .topic = SPAN_OF("t"), .payload = {bytes, n});
}

static inline struct span
answer(enum mqtt_type type, uint16_t id, uint8_t code)
{
	return PACKET(.header.type = type, .qos = type == MQTT_PUBREL,
	    .packet_id = id, .reason_code = code);
}

/* ---- both sides ---- */

static inline void
device_says(struct life *l, struct span packet)
{
	lan_write(&l->lan, packet);
}

#define device_gets(l, packet) lan_expect(&(l)->lan, packet)

/* The next message, in however many fragments. Free it. */
static inline struct buffer
cloud_message(struct life *l)
{
	struct buffer whole = {0};
	bool ends = false;

	while (!ends) {
		struct frame f = cloud_frame(&l->cloud);

		assert_int_equal(
		    f.opcode, whole.n == 0 ? WS_BINARY : WS_CONTINUATION);
		assert_true(buffer_append(&whole, frame_span(&f)));
		ends = f.fin;
		frame_free(&f);
	}
	return whole;
}

/* The next message, which must be this packet. */
#define cloud_gets(l, packet)                                                  \
	do {                                                                   \
		struct buffer whole_ = cloud_message(l);                       \
                                                                               \
		assert_span_equal(buffer_span(&whole_), packet);               \
		buffer_free(&whole_);                                          \
	} while (0)

#define cloud_says(l, packet) cloud_say(&(l)->cloud, packet)

#define nothing_moves(l)                                                       \
	do {                                                                   \
		assert_true(cloud_hears_nothing(&(l)->cloud));                 \
		assert_true(lan_hears_nothing(&(l)->lan));                     \
	} while (0)

/* A session under the contract of Aliyun, with <more> lines in its entry. */
static inline void
adapt_login(struct life *l, uint8_t level, const char *more)
{
	adapt.level = level;
	life_use(l, "aliyun", more);
	life_login(l, level);
}

/* Ends it, and forgets what is remembered of the device. */
static inline void
adapt_leave(struct life *l)
{
	device_says(l, SPAN_OF("\xe0\x00"));
	until(&l->rig, l->session->ended);
	session_free(&l->session);
	device_memory_free(&l->memory);
	cloud_hang_up(&l->cloud);
}

#endif
