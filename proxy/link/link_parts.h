/*
 * link_parts: what the files of a link share and nobody else sees: link.c is
 * the machine and the owner's functions, link_dial.c the way to an open
 * connection, link_carry.c the frames on it, link_idle.c its silences,
 * link_describe.c what a person is told of a dial.
 */
#ifndef PROXY_LINK_LINK_PARTS_H
#define PROXY_LINK_LINK_PARTS_H

#include "codec/http.h"
#include "link/link.h"
#include "link/race.h"

enum { LINK_PLACE_TEXT = 300 };

/* What only a dial needs. */
struct dialling {
	struct settings *settings;   /* a reference; those of its begin */
	const struct egress *egress; /* NULL: direct */
	struct lookup *lookup;
	struct race race;
	int raced_fd;     /* what the race brought; -1: */
	struct fault why; /* why nothing */
	struct egress_talk talk;
	uint8_t nonce[WS_NONCE_BYTES];
	struct buffer head; /* of an answer, and what came behind it */
	bool has_server_date;
	uint64_t server_date_s; /* of the server's HTTP answer */
};

enum link_event {
	EV_DIAL,
	EV_RESOLVED,
	EV_RACED, /* an address has been connected to, or none could be */
	EV_IO,    /* the descriptor has something to say */
	EV_LOGGED_IN,
	EV_DEADLINE
};

/* What a check says of an event: nothing yet, on to the next state, or over;
   with FAIL the fault is filled. */
enum verdict { STAY, GO, FAIL };

typedef enum verdict check_fn(struct link *l, struct fault *why);

/* link.c */
void link_event(struct link *l, enum link_event on);
void link_enter(struct link *l, enum link_state to);
uint64_t link_deadline_of(const struct link *l);
/* Sets the timer; may lose the link. */
void link_arm(struct link *l, uint64_t ms);
void link_arm_up(struct link *l);
void link_on_io(evutil_socket_t fd, short what, void *arg);
void link_drop_lookup(struct dialling *d);
void link_drop_dialling(struct link *l);
void link_drop_socket(struct link *l);
/* Faults of this machine, which say nothing about the way to the cloud. */
bool link_is_own_fault(enum reason why);
/* Ends a dial or an open link for <why>. Where a close frame can still be sent
   (<code> is not WS_CLOSE_NONE), the cloud is told and has its time to answer.
 */
void link_lose(
    struct link *l, enum ws_close_code code, const struct fault *why);
void link_lose_for_memory(struct link *l);

/* link_dial.c */
void link_begin_permit(struct link *l);  /* ask whether, and when */
void link_begin_resolve(struct link *l); /* ask for addresses */
void link_begin_tcp(struct link *l);     /* connect to them */
void link_begin_egress(struct link *l);  /* ask for a tunnel */
void link_begin_tls(struct link *l);     /* start the handshake */
void link_begin_upgrade(struct link *l); /* send the HTTP request */
check_fn link_have_address, link_have_connected, link_have_tunnel,
    link_have_handshake, link_have_101;
/* What the dial is about right now, for a fault: "HOST port N". */
void link_place(const struct link *l, char *out, size_t size);

/* link_carry.c */
void link_begin_login(struct link *l);   /* have the owner log in */
void link_begin_closing(struct link *l); /* last frames, close frame */
check_fn link_carry, link_have_closed;
/* Writes the scratch; what is not taken is kept. May lose the link. */
void link_write_scratch(struct link *l);
/* Writes kept frames. True with l->kept empty: all of them went. */
NODISCARD bool link_write_kept(struct link *l, struct fault *why);
/* Reads what there is, at most <size> bytes, into <to>. What is behind these *n
   bytes: IO_OK maybe more, IO_AGAIN nothing yet, IO_EOF the end, IO_FAILED a
   broken connection, and <why>. */
NODISCARD enum io link_fill(
    struct link *l, uint8_t *to, size_t size, size_t *n, struct fault *why);

/* link_idle.c */
/* What was asked for, or less where idle links are cut. */
uint64_t link_ping_interval_ms(const struct link *l);
void link_idle_begin(struct link *l); /* it is logged in, at l->up_ms */
void link_idle_wrote(struct link *l); /* at l->wrote_ms */
void link_idle_read(struct link *l);
/* Before it leaves the state it is lost in. */
void link_idle_lost(struct link *l, enum reason why);

#endif
