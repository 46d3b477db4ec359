/* The site's proxy: its URL, the environment, who is dialled directly. */
#include "settings/egress.h"
#include "settings/no_proxy.h"
#include "settings/settings.h"

#include "scratch.h"
#include "unit.h"

static const char *const variables[] = {"http_proxy", "HTTP_PROXY",
    "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy",
    "NO_PROXY"};

/* Every test begins with an environment that says nothing. */
static int
setup(void **state)
{
	for (size_t i = 0; i < ARRAY_LENGTH(variables); i++)
		if (unsetenv(variables[i]) != 0)
			return -1;
	return scratch_setup(state);
}

static struct settings *
load(struct scratch *s, const char *text)
{
	return settings_load(
	    scratch_write(s, "proxy.ini", span_of_string(text)),
	    &s->complaints);
}

/* ---- URLs ---- */

static void
test_urls(void **state)
{
	static const struct {
		const char *text;
		enum egress_kind kind;
		const char *host;
		uint16_t port;
		const char *username; /* NULL: no login */
		const char *password;
		const char *shown;
	} rows[] = {
	    {"http://proxy.example:3128", EGRESS_HTTP, "proxy.example", 3128,
		NULL, "", "http://proxy.example:3128"},
	    {"proxy:8080", EGRESS_HTTP, "proxy", 8080, NULL, "",
		"http://proxy:8080"},
	    {"10.0.0.1", EGRESS_HTTP, "10.0.0.1", 1080, NULL, "",
		"http://10.0.0.1:1080"},
	    {"HTTPS://p/", EGRESS_HTTPS, "p", 443, NULL, "", "https://p:443"},
	    {"socks5://p", EGRESS_SOCKS5, "p", 1080, NULL, "",
		"socks5://p:1080"},
	    {"socks5h://p:1/", EGRESS_SOCKS5, "p", 1, NULL, "", "socks5://p:1"},
	    {"http://[2001:DB8::1]:65535", EGRESS_HTTP, "2001:db8::1", 65535,
		NULL, "", "http://[2001:db8::1]:65535"},
	    {"https://[::1]", EGRESS_HTTPS, "::1", 443, NULL, "",
		"https://[::1]:443"},
	    {"http://me@p", EGRESS_HTTP, "p", 1080, "me", "",
		"http://me@p:1080"},
	    {"http://me:@p", EGRESS_HTTP, "p", 1080, "me", "",
		"http://me@p:1080"},
	    {"http://me:secret@p:1", EGRESS_HTTP, "p", 1, "me", "secret",
		"http://me:***@p:1"},
	    {"socks5://me:secret@[fd00::7]:9", EGRESS_SOCKS5, "fd00::7", 9,
		"me", "secret", "socks5://me:***@[fd00::7]:9"},
	    {"http://d%5Cme:p%40%3a%2F%25@p", EGRESS_HTTP, "p", 1080, "d\\me",
		"p@:/%", "http://d%5Cme:***@p:1080"},
	    /* these are often left as they are */
	    {"http://me:a/b@p/", EGRESS_HTTP, "p", 1080, "me", "a/b",
		"http://me:***@p:1080"},
	    {"http://me:a:b@c@p", EGRESS_HTTP, "p", 1080, "me", "a:b@c",
		"http://me:***@p:1080"},
	    {"http://m\xc3\xa9:\xc3\xbc@p", EGRESS_HTTP, "p", 1080, "m\xc3\xa9",
		"\xc3\xbc", "http://m%C3%A9:***@p:1080"},
	    {"socks5://a%3Ab:c@p", EGRESS_SOCKS5, "p", 1080, "a:b", "c",
		"socks5://a%3Ab:***@p:1080"},
	    {"http://p_1.example.:1", EGRESS_HTTP, "p_1.example.", 1, NULL, "",
		"http://p_1.example.:1"},
	    {"none", EGRESS_NONE, "", 0, NULL, "", "none"},
	    {"", EGRESS_BY_ENVIRONMENT, "", 0, NULL, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		struct egress e, again;
		const char *why = "";
		char shown[EGRESS_TEXT_MAX];

		memset(&e, 0xa5, sizeof(e));
		if (!egress_read(&e, rows[i].text, &why))
			fail_msg("%s: %s", rows[i].text, why);
		assert_int_equal(e.kind, rows[i].kind);
		assert_string_equal(e.host, rows[i].host);
		assert_int_equal(e.port, rows[i].port);
		assert_int_equal(e.has_login, rows[i].username != NULL);
		assert_string_equal(e.username,
		    rows[i].username != NULL ? rows[i].username : "");
		assert_span_equal(
		    ((struct span){e.password.bytes, e.password.n}),
		    span_of_string(rows[i].password));
		assert_string_equal(egress_show(&e, shown), rows[i].shown);
		assert_true(egress_same(&e, &e));
		/* what is shown can be read */
		assert_true(egress_read(&again, shown, &why));
		assert_string_equal(egress_show(&again, shown), rows[i].shown);
	}
}

static void
test_bad_urls(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} rows[] = {
	    {"ftp://p", "the scheme is not"},
	    {"socks4://p", "the scheme is not"},
	    {"://p", "the scheme is not"},
	    {"http://", "the host is missing"},
	    {"http:///", "the host is missing"},
	    {"http://:1", "the host is missing"},
	    {"http://me:hush@", "the host is missing"},
	    {"http://p:", "the port is not"},
	    {"http://p:0", "the port is not"},
	    {"http://p:65536", "the port is not"},
	    {"http://p:4294967297", "the port is not"},
	    {"http://p:+1", "the port is not"},
	    {"http://p:hush", "the port is not"},
	    {"http://p:1/path", "nothing may follow"},
	    {"http://p?x", "the host is no"},
	    {"http://a b", "the host is no"},
	    {"http://::1", "the host is missing"},
	    {"http://fd00::1", "the port is not"},
	    {"http://[::1", "the port is not"},
	    {"http://[::1]x", "the host is no"},
	    {"http://[p]", "the host is no"},
	    {"http://[10.0.0.1]", "the host is no"},
	    {"http://x[::1]:1", "the host is no"},
	    {"http://]:1", "the host is no"},
	    {"http://@p", "no user name"},
	    {"http://:hush@p", "no user name"},
	    {"http://a%3ab:hush@p", "no colon"},
	    {"http://me:hush%4@p", "the password"},
	    {"http://me:hush%zz@p", "the password"},
	    {"http://me:hush%0a@p", "the password"},
	    {"http://m%00e:hush@p", "the user name"},
	    {"http://m%7fe:hush@p", "the user name"},
	    {"http://me%:hush@p", "the user name"},
	    {"nothing at all", "the host is no"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		static const struct egress none;
		struct egress e;
		const char *why = "";

		if (egress_read(&e, rows[i].text, &why))
			fail_msg("%s is taken", rows[i].text);
		if (strstr(why, rows[i].why) == NULL)
			fail_msg("%s: %s", rows[i].text, why);
		assert_null(strstr(why, "hush"));
		assert_memory_equal(&e, &none, sizeof(e));
	}
}

/* "http://USER@HOST" with texts of so many bytes. */
static bool
is_taken(int user_n, int password_n, int host_n)
{
	char text[1024];
	struct egress e;
	const char *why;

	(void)snprintf(text, sizeof(text), "http://%0*d:%0*d@%0*d:1", user_n, 1,
	    password_n, 1, host_n, 1);
	return egress_read(&e, text, &why);
}

static void
test_bounds_of_urls(void **state)
{
	/* of what is shown, the password stands as *** */
	int rest = EGRESS_TEXT_MAX - 1 - (int)strlen("http://:***@:1");

	(void)state;
	assert_true(is_taken(1, SECRET_MAX, rest - 1));
	assert_false(is_taken(1, SECRET_MAX, rest));
	assert_false(is_taken(1, SECRET_MAX + 1, 1));
	assert_true(is_taken(rest - 1, 1, 1));
	assert_false(is_taken(rest, 1, 1));
	assert_false(is_taken(EGRESS_TEXT_MAX, 1, 1));
	assert_false(is_taken(1, 1, EGRESS_TEXT_MAX));
}

/* ---- lists ---- */

static void
test_lists(void **state)
{
	static const struct {
		const char *list;
		const char *host;
		bool has;
	} rows[] = {
	    {"", "a.example", false},
	    {" , ,", "a.example", false},
	    {"*", "a.example", true},
	    {"*", "10.0.0.7", true},
	    {"x,*", "a.example", true},
	    {"a.example", "a.example", true},
	    {"A.Example", "a.eXAMPLE", true},
	    {"example", "a.example", true},
	    {".example", "a.example", true},
	    {".example", "example", true},
	    {"..example", "a.example", false},
	    {"ample", "a.example", false},
	    {"b.a.example", "a.example", false},
	    {"a.example.", "a.example", true},
	    {"a.example", "a.example.", true},
	    {"b,a.example", "a.example", true},
	    {"b a.example\tc", "a.example", true},
	    {"b,  a.example ,c", "a.example", true},
	    {"a.example:443", "a.example", false},
	    {"*.example", "a.example", false},
	    {".", "a.example", false},
	    {"10.0.0.7", "10.0.0.7", true},
	    {"10.0.0.7", "10.0.0.70", false},
	    {"0.0.7", "10.0.0.7", false},
	    {"7", "10.0.0.7", false},
	    {"10.0.0.0/8", "10.1.2.3", true},
	    {"10.0.0.0/8", "11.1.2.3", false},
	    {"10.0.0.0/8", "10.example", false},
	    {"10.0.0.8/29", "10.0.0.15", true},
	    {"10.0.0.8/29", "10.0.0.16", false},
	    {"10.0.0.8/32", "10.0.0.8", true},
	    {"10.0.0.8/32", "10.0.0.9", false},
	    {"0.0.0.0/0", "10.0.0.9", true},
	    {"0.0.0.0/0", "::1", false},
	    {"10.0.0.0/33", "10.0.0.0", false},
	    {"10.0.0.0/", "10.0.0.0", false},
	    {"10.0.0.0/x", "10.0.0.0", false},
	    {"fd00::/8", "fd12::7", true},
	    {"fd00::/8", "fe12::7", false},
	    {"[fd00::]/8", "fd12::7", true},
	    {"10.0.0.0/8", "::ffff:10.1.2.3", true},
	    {"::ffff:10.0.0.0/104", "10.1.2.3", true},
	    {"2001:db8::8/125", "2001:db8::f", true},
	    {"2001:db8::8/125", "2001:db8::10", false},
	    {"::1/128", "::1", true},
	    {"[::1]", "::1", true},
	    {"::1", "0:0::1", true},
	    {"[", "::1", false},
	    {"/8", "10.0.0.0", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		if (no_proxy_has(rows[i].list, rows[i].host) != rows[i].has)
			fail_msg("'%s' and %s", rows[i].list, rows[i].host);
}

static void
test_entries_that_make_no_sense(void **state)
{
	static const char *const bad[] = {"10.0.0.0/33", "a.example/8",
	    "a.example:443", "http://a", ".", "*.example", "[a]",
	    "::1::", "[::1]2", "[::1", "fd00::/129", "a;b", "\xc3\xa9"};
	char list[64];
	struct span entry;

	(void)state;
	assert_true(no_proxy_valid("", &entry));
	assert_true(no_proxy_valid(
	    "*, .a.example b_1.c. 10.0.0.1,[::1] fd00::/8", &entry));
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		(void)snprintf(list, sizeof(list), "a.example, %s,b", bad[i]);
		assert_false(no_proxy_valid(list, &entry));
		assert_span_equal(entry, span_of_string(bad[i]));
	}
}

/* ---- proxy.ini ---- */

static char shown[512];

static void
on_show(void *arg, const char *section, const char *key, const char *value,
    bool is_default)
{
	size_t n = strlen(shown);

	(void)arg;
	if (strcmp(section, "egress") == 0 && strcmp(key, "timeout") != 0)
		(void)snprintf(shown + n, sizeof(shown) - n, "%s=%s%s\n", key,
		    value, is_default ? "" : "!");
}

static const char *
show(const struct settings *s)
{
	shown[0] = '\0';
	settings_show(s, on_show, NULL);
	return shown;
}

static void
test_a_proxy_of_the_file(void **state)
{
	struct scratch *s = *state;
	struct settings *settings =
	    load(s, "[egress]\nproxy = http://me:hush@proxy:3128\n"
		    "no_proxy = direct.example, 10.0.0.0/8\n");
	const struct egress *e;

	assert_told(s, "");
	e = egress_for(settings, true, "a.example");
	assert_non_null(e);
	assert_string_equal(e->host, "proxy");
	assert_true(secret_eq(&e->password, SPAN_OF("hush")));
	assert_ptr_equal(egress_for(settings, false, "a.example"), e);
	/* it is meant for all, but those named */
	assert_ptr_equal(egress_for(settings, true, "127.0.0.1"), e);
	assert_null(egress_for(settings, true, "x.direct.example"));
	assert_null(egress_for(settings, true, "10.9.9.9"));
	assert_string_equal(show(settings),
	    "proxy=http://me:***@proxy:3128!\npassword_file=\n"
	    "no_proxy=direct.example, 10.0.0.0/8!\n");
	settings_unref(settings);
}

/* The environment has no say, not even a wrong one. */
static void
test_the_file_goes_before_the_environment(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;

	assert_int_equal(setenv("https_proxy", "ftp://wrong", 1), 0);
	assert_int_equal(setenv("no_proxy", "*", 1), 0);
	settings = load(s, "[egress]\nproxy = socks5://p\n");
	assert_told(s, "");
	assert_non_null(egress_for(settings, true, "a.example"));
	settings_unref(settings);
	settings = load(s, "[egress]\nproxy = none\n");
	assert_told(s, "");
	assert_null(egress_for(settings, true, "a.example"));
	assert_string_equal(
	    show(settings), "proxy=none!\npassword_file=\nno_proxy=\n");
	settings_unref(settings);
}

static void
test_bad_proxies_of_the_file(void **state)
{
	struct scratch *s = *state;

	assert_null(load(s, "[egress]\nproxy = http://me:hush@:1\n"));
	assert_told(s, "error 2: proxy: the host is missing\n");
	assert_null(load(s, "[egress]\nno_proxy = a, b:443\n"));
	assert_told(s,
	    "error 2: no_proxy: b:443 is no name, address or network, as in "
	    "example.com, 10.0.0.7, 10.0.0.0/8, fd00::/8, *\n");
}

static void
test_password_file(void **state)
{
	static const char ini[] = "[egress]\nproxy = http://me@p:1\n"
				  "password_file = pw\n";
	static const struct {
		const char *ini;
		struct span file;
		const char *told;
	} bad[] = {
	    {ini, SPAN_OF("\n"), "the file is empty"},
	    {ini, SPAN_OF("hush\nhush\n"), "more than one line"},
	    {ini, SPAN_OF("hush\0"), "a control character"},
	    {"[egress]\nproxy = http://p\npassword_file = pw\n",
		SPAN_OF("hush"), "has no user"},
	    {"[egress]\n\npassword_file = pw\n", SPAN_OF("hush"),
		"has no user"},
	    {"[egress]\nproxy = http://me:hush@p\npassword_file = pw\n",
		SPAN_OF("hush"), "has a password already"},
	    {"[egress]\nproxy = http://me@p\npassword_file = missing\n",
		SPAN_OF("hush"), "No such file"},
	};
	struct scratch *s = *state;
	struct settings *settings, *again;
	char text[512];

	scratch_write(s, "pw", SPAN_OF("h:@/%41\xc3\xbc\r\n"));
	settings = load(s, ini);
	assert_told(s, "");
	assert_true(
	    secret_eq(&egress_for(settings, true, "a.example")->password,
		SPAN_OF("h:@/%41\xc3\xbc")));
	/* what is shown can be read */
	assert_non_null(strstr(show(settings), "proxy=http://me@p:1!\n"));
	(void)snprintf(text, sizeof(text),
	    "[egress]\nproxy = http://me@p:1\npassword_file = %s\n",
	    settings->egress_password_file);
	again = load(s, text);
	assert_told(s, "");
	assert_true(egress_same(&settings->egress_proxy, &again->egress_proxy));
	settings_unref(again);
	settings_unref(settings);
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		scratch_write(s, "pw", bad[i].file);
		assert_null(load(s, bad[i].ini));
		assert_memory_equal(s->told, "error 3: password_file: ", 24);
		assert_null(strstr(s->told, "hush"));
		assert_told_once(s, bad[i].told);
	}
}

/* However the program was told where the file is. */
static void
test_password_file_beside_a_relative_path(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;
	char path[256];
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(here >= 0);
	scratch_write(s, "pw", SPAN_OF("hush\n"));
	scratch_write(s, "proxy.ini",
	    SPAN_OF("[egress]\nproxy = http://me@p:1\npassword_file = pw\n"));
	(void)snprintf(
	    path, sizeof(path), "%s/proxy.ini", strrchr(s->folder, '/') + 1);
	assert_int_equal(chdir(s->folder), 0);
	assert_int_equal(chdir(".."), 0);
	settings = settings_load(path, &s->complaints);
	assert_int_equal(fchdir(here), 0);
	assert_int_equal(close(here), 0);
	assert_told(s, "");
	assert_true(
	    secret_eq(&settings->egress_proxy.password, SPAN_OF("hush")));
	settings_unref(settings);
}

/* ---- the environment ---- */

/* The proxy's host for a connection; "" when it is direct. The variables are
   NAME, VALUE, ..., NULL. */
static const char *
host_by(const char *const set[], bool tls, const char *host)
{
	static char found[EGRESS_TEXT_MAX];
	struct complaints none = {0};
	struct settings *settings;
	const struct egress *e;

	for (size_t i = 0; i < ARRAY_LENGTH(variables); i++)
		(void)unsetenv(variables[i]);
	for (size_t i = 0; set[i] != NULL; i += 2)
		assert_int_equal(setenv(set[i], set[i + 1], 1), 0);
	settings = settings_load(NULL, &none);
	assert_non_null(settings);
	e = egress_for(settings, tls, host);
	(void)strcpy(found, e != NULL ? e->host : "");
	settings_unref(settings);
	return found;
}

#define SET(...) ((const char *const[]){__VA_ARGS__, NULL})

static void
test_variables(void **state)
{
	(void)state;
	assert_string_equal(host_by(SET("x", ""), true, "a"), "");
	assert_string_equal(
	    host_by(SET("https_proxy", "http://p"), true, "a"), "p");
	assert_string_equal(
	    host_by(SET("https_proxy", "http://p"), false, "a"), "");
	assert_string_equal(
	    host_by(SET("HTTPS_PROXY", "http://p"), true, "a"), "p");
	assert_string_equal(
	    host_by(SET("https_proxy", "http://p", "HTTPS_PROXY", "http://q"),
		true, "a"),
	    "p");
	assert_string_equal(
	    host_by(SET("http_proxy", "http://p"), false, "a"), "p");
	assert_string_equal(
	    host_by(SET("http_proxy", "http://p"), true, "a"), "");
	/* a CGI client's header "Proxy:" would be that */
	assert_string_equal(
	    host_by(SET("HTTP_PROXY", "http://p"), false, "a"), "");
	for (int tls = 0; tls <= 1; tls++) {
		assert_string_equal(
		    host_by(SET("all_proxy", "socks5://p"), tls, "a"), "p");
		assert_string_equal(
		    host_by(SET("ALL_PROXY", "p"), tls, "a"), "p");
		assert_string_equal(
		    host_by(SET("all_proxy", "p", "ALL_PROXY", "q"), tls, "a"),
		    "p");
		assert_string_equal(host_by(SET("all_proxy", "p", "https_proxy",
						"q", "http_proxy", "q"),
					tls, "a"),
		    "q");
		/* set, and empty */
		assert_string_equal(host_by(SET("all_proxy", "p", "https_proxy",
						"", "http_proxy", ""),
					tls, "a"),
		    "");
	}
}

static void
test_no_proxy_of_the_environment(void **state)
{
	static const char *const direct[] = {"localhost", "LOCALHOST.",
	    "x.localhost", "127.0.0.1", "127.9.9.9", "::1", "a.example"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(direct); i++) {
		assert_string_equal(
		    host_by(SET("all_proxy", "p", "no_proxy", "example"), true,
			direct[i]),
		    "");
		assert_string_equal(
		    host_by(SET("all_proxy", "p", "NO_PROXY", "example"), false,
			direct[i]),
		    "");
	}
	assert_string_equal(
	    host_by(SET("all_proxy", "p", "no_proxy", "x", "NO_PROXY", "*"),
		true, "a.example"),
	    "p");
	assert_string_equal(
	    host_by(SET("all_proxy", "p", "no_proxy", "example"), true, "a"),
	    "p");
}

/* The file's list is added to the environment's. */
static void
test_no_proxy_of_the_file(void **state)
{
	struct scratch *s = *state;
	struct settings *settings;

	assert_int_equal(setenv("https_proxy", "http://p", 1), 0);
	assert_int_equal(setenv("no_proxy", "a.example", 1), 0);
	settings = load(s, "[egress]\nno_proxy = b.example\n");
	assert_told(s, "");
	assert_null(egress_for(settings, true, "a.example"));
	assert_null(egress_for(settings, true, "b.example"));
	assert_non_null(egress_for(settings, true, "c.example"));
	settings_unref(settings);
}

static void
test_bad_variables(void **state)
{
	struct scratch *s = *state;

	assert_int_equal(setenv("https_proxy", "http://me:hush@p:x", 1), 0);
	assert_int_equal(setenv("all_proxy", "socks://hush", 1), 0);
	assert_null(load(s, ""));
	assert_non_null(strstr(s->told, "error 0: https_proxy: the port is"));
	assert_non_null(strstr(s->told, "error 0: all_proxy: the scheme is"));
	assert_null(strstr(s->told, "hush"));
	scratch_reset(s);
	assert_null(settings_load(NULL, &s->complaints));
	assert_int_equal(s->complaints.errors, 2);
}

int
main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_urls),
	    TEST(test_bad_urls),
	    TEST(test_bounds_of_urls),
	    TEST(test_lists),
	    TEST(test_entries_that_make_no_sense),
	    TEST(test_a_proxy_of_the_file),
	    TEST(test_the_file_goes_before_the_environment),
	    TEST(test_bad_proxies_of_the_file),
	    TEST(test_password_file),
	    TEST(test_password_file_beside_a_relative_path),
	    TEST(test_variables),
	    TEST(test_no_proxy_of_the_environment),
	    TEST(test_no_proxy_of_the_file),
	    TEST(test_bad_variables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
