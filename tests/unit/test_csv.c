#include "settings/csv.h"

#include "scratch.h"
#include "unit.h"

/* What was handed out, in order: "2 key/name=secret;". */
static char heard[4096];

static void
on_row(void *arg, const struct csv_row *row)
{
	size_t n = strlen(heard);

	(void)arg;
	(void)snprintf(heard + n, sizeof(heard) - n, "%d %s/%s=%.*s;",
	    row->line, row->product_key != NULL ? row->product_key : "-",
	    row->device_name, (int)row->device_secret.n,
	    (const char *)row->device_secret.p);
}

static bool
read_bytes(struct scratch *s, struct span bytes)
{
	static const struct csv_handler handler = {on_row, NULL};
	struct file file;
	const char *why;
	bool ok;

	heard[0] = '\0';
	assert_true(file_open(
	    &file, scratch_write(s, "table.csv", bytes), &s->complaints, &why));
	ok = csv_read(&file, &handler, &s->complaints);
	file_close(&file);
	assert_int_equal(ok, s->complaints.errors == 0);
	return ok;
}

static bool
read_text(struct scratch *s, const char *text)
{
	return read_bytes(s, span_of_string(text));
}

static void
test_finds_columns_by_name(void **state)
{
	static const char *const tables[] = {
	    "ProductKey,DeviceName,DeviceSecret\npk,pump_1,s1\npk,p2,s2\n",
	    "productkey;DEVICENAME;deviceSecret\npk;pump_1;s1\npk;p2;s2",
	    "Product Key\tDevice_Name\tdevice secret\npk\tpump_1\ts1\n"
	    "pk\tp2\ts2\n",
	    "\xef\xbb\xbf\"ProductKey\",DeviceName,\"DeviceSecret\"\r\n"
	    "\"pk\",\"pump_1\",s1\r\npk,p2,\"s2\"\r\n",
	    "Device_Secret,Nickname,product_key, device name \n"
	    "s1,;\t\xc4\xe3,pk,pump_1\ns2,,pk,p2\n",
	};

	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		assert_true(read_text(*state, tables[i]));
		assert_string_equal(heard, "2 pk/pump_1=s1;3 pk/p2=s2;");
		assert_told((struct scratch *)*state, "");
	}
	assert_true(read_text(*state, "DeviceSecret,DeviceName\ns,n\n"));
	assert_string_equal(heard, "2 -/n=s;");
}

/* RFC 4180 section 2, rules 5 to 7. */
static void
test_takes_quotes(void **state)
{
	assert_true(
	    read_text(*state, "DeviceName,DeviceSecret,x\n"
			      "\"a,\"\"b\"\"\",\"\",\"two\r\nlines\n\"\n"
			      "c,\"d;\",\"\"\"\"\n"));
	assert_string_equal(heard, "2 -/a,\"b\"=;5 -/c=d;;");
}

static void
test_passes_over_empty_rows(void **state)
{
	assert_true(read_text(*state, "DeviceName,DeviceSecret\n\n\r\na,b\n"
				      ",\n\"\",\"\"\n\n"));
	assert_string_equal(heard, "4 -/a=b;");
	assert_true(read_text(*state, "DeviceName,DeviceSecret"));
	assert_string_equal(heard, "");
}

#define HEAD "DeviceName,DeviceSecret\n"

static void
test_goes_on_behind_bad_rows(void **state)
{
	struct scratch *s = *state;

	assert_false(read_text(s, HEAD "a\nb,c,d\ne\"e,f\n\"g\"g,h\n\"i\" ,j\n"
				       "k,l\rm,n\no,p\n\"q,r\ns,t"));
	assert_string_equal(heard, "8 -/o=p;");
	assert_told(s,
	    "error 2: the row has 1 columns, the first one has 2\n"
	    "error 3: the row has 3 columns, the first one has 2\n"
	    "error 4: a quote inside a field that does not start with one\n"
	    "error 5: something follows a closing quote; a quote inside a "
	    "field is doubled\n"
	    "error 6: something follows a closing quote; a quote inside a "
	    "field is doubled\n"
	    "error 7: a CR without LF: only a field in quotes may hold one\n"
	    "error 9: the closing quote is missing\n");
}

static void
test_refuses_tables_without_its_columns(void **state)
{
#define NEEDS                                                                  \
	": it must name the columns DeviceName and DeviceSecret, and may "     \
	"name ProductKey\n"
	struct scratch *s = *state;

	assert_false(read_text(s, ""));
	assert_told(
	    s, "error 1: the first row names no column DeviceName" NEEDS);
	assert_false(read_text(s, "a1,pump_1,secret\n"));
	assert_told(
	    s, "error 1: the first row names no column DeviceName" NEEDS);
	assert_false(read_text(s, "DeviceName,ProductKey,Secret\nx,y,z\n"));
	assert_told(
	    s, "error 1: the first row names no column DeviceSecret" NEEDS);
	assert_false(read_text(s, "DeviceNameX,DeviceName,DeviceSecre\n"));
	assert_told(
	    s, "error 1: the first row names no column DeviceSecret" NEEDS);
	assert_false(read_text(s, "Device Name,devicename,DeviceSecret\n"));
	assert_told(s, "error 1: there are two columns DeviceName\n");
	assert_false(read_text(s, "\"Device\nName,DeviceSecret\n"));
	assert_told(s, "error 1: the closing quote is missing\n");
	assert_string_equal(heard, "");
}

/* Text in UTF-16, or no text: what is behind cannot be understood. */
static void
test_refuses_nul_bytes(void **state)
{
	struct scratch *s = *state;

	assert_false(read_bytes(s, SPAN_OF("\xff\xfe"
					   "D\0e\0v\0")));
	assert_told_once(s, "error 1: the row holds a NUL byte");
	assert_false(read_bytes(s, SPAN_OF(HEAD "a,b\n\"c\0,d\ne,f\n")));
	assert_string_equal(heard, "2 -/a=b;");
	assert_told_once(s, "error 3: the row holds a NUL byte");
}

/* At the bounds, and one over them. */
static void
test_bounds_fields_and_rows(void **state)
{
	/* a row of exactly as many bytes as are allowed */
	enum { FILL = CSV_ROW_BYTES - 129 - 1 - 128 - 1 };
	struct scratch *s = *state;
	static char text[2 * CSV_ROW_BYTES];
	char want[300];
	int n =
	    sprintf(text, "DeviceName,DeviceSecret,x\n%0129d,%0128d,", 1, 2);

	(void)snprintf(
	    text + n, sizeof(text) - (size_t)n, "%0*d\na,b,c\n", FILL, 3);
	(void)snprintf(want, sizeof(want), "2 -/%0128d=%0128d;3 -/a=b;", 0, 2);
	assert_true(read_text(s, text));
	assert_string_equal(heard, want);

	for (int quoted = 0; quoted < 2; quoted++) {
		(void)snprintf(text + n, sizeof(text) - (size_t)n,
		    "%s%0*d\na,b,c\n", quoted ? "\"" : "",
		    quoted ? FILL : FILL + 1, 3);
		assert_false(read_text(s, text));
		assert_string_equal(heard, "3 -/a=b;");
		assert_told(s, "error 2: the row has more than 16384 bytes; is "
			       "a closing quote missing?\n");
	}
}

static void
test_tells_all_errors_up_to_a_bound(void **state)
{
	struct scratch *s = *state;
	char text[1024] = HEAD;

	for (int i = 0; i < COMPLAINTS_MAX + 5; i++)
		strcat(text, "x\n");
	assert_false(read_text(s, text));
	assert_int_equal(s->complaints.errors, COMPLAINTS_MAX + 5);
	assert_non_null(strstr(s->told, "there are more errors"));
	assert_null(strstr(s->told, "error 102:"));
}

int
main(void)
{
#define TEST(f)                                                                \
	cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_finds_columns_by_name),
	    TEST(test_takes_quotes),
	    TEST(test_passes_over_empty_rows),
	    TEST(test_goes_on_behind_bad_rows),
	    TEST(test_refuses_tables_without_its_columns),
	    TEST(test_refuses_nul_bytes),
	    TEST(test_bounds_fields_and_rows),
	    TEST(test_tells_all_errors_up_to_a_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
