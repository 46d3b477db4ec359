/*
 * parse: the three answers every incremental parser of this project gives.
 * The size used is always a separate argument, so that "half a packet" can
 * never be mistaken for "a broken one".
 */
#ifndef PROXY_BASE_PARSE_H
#define PROXY_BASE_PARSE_H

enum parse {
	PARSE_MORE, /* so far well-formed, more bytes are needed */
	PARSE_OK,   /* complete */
	PARSE_BAD   /* can never become well-formed */
};

#endif
