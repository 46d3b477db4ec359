/*
 * web_page: the page that shows a person in a browser what /status tells. It is
 * one document, put together when the proxy is built, of web_page.html, its
 * style and its scripts beside it; it holds nothing secret and loads nothing
 * but /status. Pure.
 */
#ifndef PROXY_SERVER_WEB_PAGE_H
#define PROXY_SERVER_WEB_PAGE_H

#include "base/attr.h"

#include <stdbool.h>
#include <stddef.h>

enum { WEB_PAGE_HEADERS_MAX = 640 };

/* All of it, malloc()ed and without a NUL; *n: its bytes. NULL without
   memory. */
NODISCARD char *web_page_copy(size_t *n);

/*
 * The header lines that keep it to itself, each with its CRLF: above all what a
 * browser may run and load of it (Content Security Policy Level 3), which is
 * its own script and style, known by their hash. False without memory.
 */
NODISCARD bool web_page_headers(char out[static WEB_PAGE_HEADERS_MAX]);

#endif
