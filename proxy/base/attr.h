/*
 * attr: the few compiler attributes the project uses, under readable names.
 */
#ifndef PROXY_BASE_ATTR_H
#define PROXY_BASE_ATTR_H

/* The result must be looked at: ignoring it would lose a failure. */
#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, first) __attribute__((format(printf, fmt, first)))

#endif
