/*
 * unit: what every unit test includes: cmocka with the headers it wants
 * before it, and comparisons in the project's own types.
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include "base/span.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* cmocka's own speaks on standard error, which some tests take for the log. */
#undef fail_msg
#define fail_msg(fmt, ...)                                                     \
	do {                                                                   \
		print_message("ERROR: " fmt "\n", ##__VA_ARGS__);              \
		fail();                                                        \
	} while (0)

/* A macro, so that a failure names the line of the test. */
#define assert_span_equal(got, want)                                           \
	do {                                                                   \
		struct span got_ = (got), want_ = (want);                      \
		assert_int_equal(got_.n, want_.n);                             \
		if (want_.n > 0)                                               \
			assert_memory_equal(got_.p, want_.p, want_.n);         \
	} while (0)

#endif
