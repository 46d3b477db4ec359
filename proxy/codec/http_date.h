/*
 * http_date: the dates of HTTP headers (RFC 9110 5.6.7), of which servers send
 * one form only: "Sun, 06 Nov 1994 08:49:37 GMT". Pure.
 */
#ifndef PROXY_CODEC_HTTP_DATE_H
#define PROXY_CODEC_HTTP_DATE_H

#include "base/attr.h"
#include "base/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Seconds since 1970 into *out. False, with *out as it was: no such date, or
   one before 1970. */
NODISCARD bool http_date_read(struct span text, uint64_t *out);

#endif
