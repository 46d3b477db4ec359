/*
 * A device that is held while its link is lost, against a model of it: a device
 * and a cloud that know what was said and what has to follow, random packets
 * from both, in pieces, and links that are lost at any moment, over and over.
 *
 * No acknowledgement comes before the one of the other side; nothing that is
 * acknowledged is lost, nothing at QoS 0 doubled; what is sent again has DUP,
 * and its order; subscriptions are at the cloud as the device believes; what it
 * owes an acknowledgement for has its identifier alone, and is told once. What
 * is kept stays in its bounds, and when all is calm, nothing waits.
 *
 * TEST_SEED in the environment, or 1, is what the random numbers begin with,
 * TEST_STEPS how many steps there are.
 */
#include "hold_cloud.h"
#include "hold_device.h"

enum { STEPS = 1000 * 1000, LIFE_STEPS = 3000, CALM_ROUNDS = 4000 };

/* ---- the session ---- */

static const char *end_log; /* the end of the log */

/* The reason it has ended for. */
static const char *
end_reason(void)
{
	static char text[8 * 1024], word[40];
	off_t n = lseek(world.life.log, 0, SEEK_END);
	off_t from =
	    n > (off_t)sizeof(text) - 1 ? n - (off_t)sizeof(text) + 1 : 0;
	ssize_t got = pread(world.life.log, text, sizeof(text) - 1, from);
	const char *end;

	assert_true(got >= 0);
	text[got] = '\0';
	end = strstr(text, "event=session_end ");
	assert_non_null(end);
	assert_int_equal(
	    sscanf(strstr(end, "reason="), "reason=%39s", word), 1);
	end_log = end - text > 1500 ? end - 1500 : text;
	return word;
}

/* A handshake may be under way that passes from end to end. */
static bool
has_open_qos2(void)
{
	const struct fake_device *d = &world.device;

	if (world.is_aliyun)
		return false;
	for (unsigned i = d->first; i < d->n; i++)
		if (d->ups[i].qos == 2 && d->ups[i].state < UP_DONE)
			return true;
	return world.cloud.open_qos2 > 0;
}

/* It must not end but for a reason that the model has, too. */
static void
judge_end(bool had_open_qos2)
{
	const char *reason = end_reason();

	if (strcmp(reason, "device_left") == 0 && world.device.has_left)
		return;
	if (world.device.is_gone && strncmp(reason, "device_", 7) == 0)
		return;
	/* links that are of no use do not make it longer */
	if (world.lost_ms != 0 && adapt.now_ms - world.lost_ms >= HOLD_MS)
		return;
	if (strcmp(reason, "session_lost") == 0 && world.was_present &&
	    world.cloud.has_forgotten)
		return;
	if (had_open_qos2 && strncmp(reason, "cloud_", 6) == 0)
		return;
	if (had_open_qos2 && strcmp(reason, "bad_cloud_packet") == 0)
		return;
	(void)fputs(end_log, stdout);
	fail_msg("ended for %s", reason);
}

static void
check_bounds(void)
{
	const struct session *s = world.life.session;

	assert_true(
	    s->outbox.count <= 1 || s->outbox.kept_bytes <= QUEUE_BYTES);
	assert_true(s->outbox.sent <= s->outbox.count);
	assert_true(
	    s->outbound.n <= CLOUD_IDS * 3 || s->outbound.n <= world.cloud.n);
	/* the device's buffers have as much again */
	assert_true(world.life.rig.loop->kept_bytes <=
		    QUEUE_BYTES + 512 * 1024 + 64 * 1024);
}

/* ---- turns ---- */

/* What was said is written, some of it or all, and heard. */
static void
turn(bool all)
{
	struct life *l = &world.life;
	bool had_open_qos2 = has_open_qos2();

	(void)clock_move(0);
	cloud_takes_links();
	if (world.device.online &&
	    !write_some(l->lan.fd, &world.device.out, all))
		buffer_free(&world.device.out);
	if (l->cloud.fd >= 0 && !world.cloud.mute &&
	    !write_some(l->cloud.fd, &world.cloud.out, all))
		cloud_leaves(false);
	rig_turn(&l->rig);
	cloud_listens();
	rig_turn(&l->rig);
	device_listens();
	if (l->session == NULL)
		judge_end(had_open_qos2);
	else
		check_bounds();
	if (l->session != NULL && l->session->link_lost && world.lost_ms == 0)
		world.lost_ms = adapt.now_ms;
	if (l->session != NULL && !l->session->link_lost &&
	    l->session->progress && world.lost_ms != 0 && !world.errs) {
		world.before_ms = world.lost_ms;
		world.lost_ms = 0;
	}
}

static void
pass_time(uint64_t ms)
{
	while (ms > 0 && world.life.session != NULL) {
		ms = clock_move(ms);
		turn(false);
	}
}

static void
refuse_dials(bool refuse)
{
	static uint16_t port;

	if (port == 0)
		(void)rig_refuse(&port);
	world.cloud.refuses = refuse;
	world.life.rig.port_count = refuse;
	world.life.rig.ports[0] = port;
}

/* ---- a step ---- */

/* The device loses its connection, or has another one by itself. */
static void
disturb_device(void)
{
	const struct session *s = world.life.session;

	if (world.device.has_left)
		return;
	if (s->link_lost && !s->ended && !world.is_clean)
		device_comes_back();
	else if (!world.device.is_gone && one_in(10))
		device_vanishes(one_in(2));
}

static void
outage(void)
{
	unsigned what = below(100);

	if (what < 45)
		cloud_ends_link();
	else if (what < 60)
		refuse_dials(!world.cloud.refuses);
	else if (what < 80)
		pass_time(1 + below(3000));
	else if (what < 83)
		pass_time(1 + below(60 * 1000));
	else
		disturb_device();
}

static void
step(void)
{
	unsigned what = below(1000);

	world.steps++;
	if (what < 100)
		device_publishes(0);
	else if (what < 300)
		device_publishes(1);
	else if (what < 340)
		device_publishes(world.is_aliyun || one_in(20) ? 2 : 1);
	else if (what < 370)
		device_asks(one_in(3) ? MQTT_UNSUBSCRIBE : MQTT_SUBSCRIBE);
	else if (what < 380)
		device_pings();
	else if (what < 460)
		device_acknowledges(false);
	else if (what < 500)
		device_releases();
	else if (what < 520)
		cloud_publishes(0);
	else if (what < 610)
		cloud_publishes(1);
	else if (what < 612 && !world.is_aliyun && one_in(5))
		cloud_publishes(2);
	else if (what < 800 && world.cloud.phase == ONLINE)
		cloud_answers(1 + below(8));
	else if (what < 950)
		pass_time(1 + below(100));
	else
		outage();
}

/* ---- a life ---- */

static void
begin(void)
{
	struct life *l = &world.life;
	struct mqtt_connect c;

	world.level = adapt.level = (uint8_t)(3 + below(3));
	world.is_aliyun = one_in(2);
	world.is_clean = one_in(2);
	world.was_present = false;
	world.lost_ms = world.before_ms = 0;
	world.errs = false;
	world.device = (struct fake_device){.online = true};
	world.cloud = (struct fake_cloud){.keeps = !world.is_clean};
	memset(world.device.filters, NOT_SUBSCRIBED, FILTERS);
	memset(world.cloud.filters, NOT_SUBSCRIBED, FILTERS);
	if (!world.is_clean && one_in(8))
		world.was_present = world.cloud.has_session = true;
	refuse_dials(false);
	life_use(l, world.is_aliyun ? "aliyun" : "none",
	    "hold_queue = 8K\nhold_time = 120s\n");
	c = device_connect();
	assert_true(life_try_begin(l, &c, SPAN_OF("")));
	for (int i = 0; l->session->device.state != DEVICE_ONLINE; i++) {
		struct mqtt_packet p;

		assert_true(i < CALM_ROUNDS);
		(void)clock_move(0);
		cloud_takes_links();
		cloud_listens();
		if (l->cloud.fd >= 0)
			assert_true(
			    write_some(l->cloud.fd, &world.cloud.out, true));
		rig_turn(&l->rig);
		assert_true(read_some(l->lan.fd, &l->lan.in));
		if (next_packet(&l->lan.in, MQTT_FROM_SERVER, &p))
			assert_int_equal(p.header.type, MQTT_CONNACK);
	}
}

static bool
is_calm(void)
{
	const struct fake_device *d = &world.device;
	const struct session *s = world.life.session;

	for (unsigned i = 0; i < EXCHANGES; i++)
		if (d->asking[i].id != 0)
			return false;
	for (unsigned i = d->first; i < d->n; i++)
		if (d->ups[i].qos > 0 && d->ups[i].state < UP_DONE)
			return false;
	return world.cloud.phase == ONLINE && d->out.n == 0 && d->owed == 0 &&
	       d->pings == 0 && world.cloud.out.n == 0 &&
	       world.cloud.owed_n == 0 && s->outbox.count == 0 &&
	       s->subscribing.count == 0 && !s->link_lost &&
	       flow_queued(&s->memory->flow) == 0;
}

/* Nobody says anything new; all that waits has its time. */
static void
calm_down(void)
{
	struct life *l = &world.life;

	refuse_dials(false);
	if (world.device.is_gone && l->session->link_lost &&
	    !l->session->ended && !world.is_clean)
		device_comes_back();
	for (int i = 0; l->session != NULL; i++) {
		if (is_calm() && i > 10)
			break;
		if (i == CALM_ROUNDS)
			fail_msg("it is stuck");
		if (world.cloud.mute || world.cloud.phase == CLOSING)
			cloud_leaves(false);
		if (world.cloud.phase == ONLINE)
			cloud_answers(OWED);
		device_releases();
		device_acknowledges(true);
		(void)clock_move(50);
		turn(true);
	}
}

static void
end(void)
{
	struct life *l = &world.life;

	if (l->session != NULL) {
		assert_memory_equal(
		    world.device.filters, world.cloud.filters, FILTERS);
		for (unsigned i = world.cloud.first; i < world.cloud.n; i++)
			assert_true(world.cloud.downs[i].state >= DOWN_DONE);
		for (unsigned i = 0; i < world.device.n; i++)
			assert_true(world.device.ups[i].got_link > 0 ||
				    world.device.ups[i].qos == 0);
		device_says_goodbye();
		for (int i = 0; l->session != NULL; i++) {
			assert_true(i < CALM_ROUNDS);
			(void)clock_move(50);
			turn(true);
		}
	}
	device_memory_free(&l->memory);
	cloud_leaves(false);
	lan_hang_up(&l->lan);
	for (int i = 0; world.timer_n > 0; i++) {
		assert_true(i < CALM_ROUNDS);
		(void)clock_move(1000);
		rig_turn(&l->rig);
	}
	assert_int_equal(l->rig.loop->kept_bytes, 0);
	buffer_free(&world.device.out);
}

static void
live(void)
{
	uint64_t last = world.steps + LIFE_STEPS;

	world.lives++;
	begin();
	while (world.steps < last && world.life.session != NULL) {
		step();
		if (world.life.session != NULL && one_in(3))
			turn(false);
	}
	if (world.life.session != NULL)
		calm_down();
	end();
}

static uint64_t
from_environment(const char *name, uint64_t otherwise)
{
	const char *value = getenv(name);

	return value != NULL ? strtoull(value, NULL, 10) : otherwise;
}

static void
test_held_device(void **state)
{
	uint64_t steps = from_environment("TEST_STEPS", STEPS);

	(void)state;
	world.seed = from_environment("TEST_SEED", 1) * 2 + 1;
	print_message("TEST_SEED=%llu\n", (unsigned long long)(world.seed / 2));
	world.life.rig.settings->idle_timeout_ms = 0;
	world.life.rig.settings->session_buffer_bytes = 4 * 2048;
	while (world.steps < steps)
		live();
	print_message("%llu steps, %llu lives, %llu links, %llu comebacks, "
		      "%llu repeats, %llu renamed\n",
	    (unsigned long long)world.steps, (unsigned long long)world.lives,
	    (unsigned long long)world.links,
	    (unsigned long long)world.comebacks,
	    (unsigned long long)world.repeats,
	    (unsigned long long)world.renamed);
}

static int
set_up(void **state)
{
	(void)state;
	adapt.now_ms = 1000 * 1000;
	life_open(&world.life, false);
	world.life.holds = true;
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	life_close(&world.life);
	for (unsigned i = 0; i < ADAPT_PACKETS; i++)
		buffer_free(&adapt.packets[i]);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		test_held_device, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
