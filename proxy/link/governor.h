/*
 * governor: whether and when a device may be dialled, so that the cloud's own
 * limits are never run into and a cloud that comes back is not overrun. Each
 * dial needs its word; "not now" is told to the device at once.
 *
 *  - A device's own rate: never more than [dial] per_device logins in any
 *    minute. Of the minute before the process began nothing is known; it is
 *    taken for one of steady use: a device has one dial at first, and gets one
 *    more at even steps, so that not each start of a process that crashes again
 *    and again costs all the dials of a minute.
 *  - The rate of all devices together, of the whole process: link/dial_rate.h.
 *  - A back-off after failures, for each kind its own: it doubles with each
 *    one in a row, and a part of it is random, so that devices that failed
 *    together do not come back together. The row ends when a link has held for
 *    [dial] stable_after, or when the device has not failed for long: as long
 *    after its back-off's end as the longest back-off of that kind.
 *
 * An end of a link that is no failure (the device left, a take-over, a drain,
 * an entry that was removed) is not told here.
 *
 * One worker's, on its thread, like all that is known about its devices. A
 * device is its product key and device name, and is dialled only once at a
 * time. What is kept of it, some 200 bytes, is forgotten soon after it makes no
 * difference any more.
 */
#ifndef PROXY_LINK_GOVERNOR_H
#define PROXY_LINK_GOVERNOR_H

#include "base/attr.h"
#include "base/fault.h"
#include "link/dial_rate.h"
#include "settings/credmap.h"
#include "settings/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* id, what the device did, "..., 3 in a row" */
#define DIAL_FAILURES(X)                                                       \
	/* before the cloud had answered the login */                          \
	X(NETWORK, "could not be connected to the cloud")                      \
	/* the cloud's CONNACK said no */                                      \
	X(REFUSED, "was refused by the cloud")                                 \
	/* accepted, but lost before [dial] stable_after */                    \
	X(KICKED, "was accepted and soon lost again")

#define X(id, text) DIAL_##id,
enum dial_failure { DIAL_FAILURES(X) DIAL_FAILURE_COUNT };
#undef X

enum { GOVERNOR_USED_ELSEWHERE = 3 };

struct governor;

/*
 * <rate> is shared by all workers and must outlive it. <settings>: see
 * governor_reload(). <seed> is of the CSPRNG: different in each worker, or they
 * have the same back-offs. All <now_ms> are of clock_mono_ms(). NULL without
 * memory.
 */
NODISCARD struct governor *governor_new(const struct settings *settings,
    struct dial_rate *rate, uint64_t seed, uint64_t now_ms);
void governor_free(struct governor **g);

/* From now on by these <settings>, which are not kept. All back-offs are
   forgotten, since what has failed may have been mended; the rates are not. */
void governor_reload(struct governor *g, const struct settings *settings);

/*
 * May <target> be dialled? True: in *wait_ms milliseconds, not sooner (0: now);
 * this counts as a dial. Asked again before that, for a device that went and
 * came again, it is the same dial. False: not now, and <why> says why and when
 * it may: R_DIAL_BACKOFF, R_DIAL_RATE, R_DIAL_QUEUE or R_OUT_OF_MEMORY; the
 * time is also in *wait_ms, 0 when it is not known.
 */
NODISCARD bool governor_ask(struct governor *g, const struct credential *target,
    uint64_t now_ms, uint64_t *wait_ms, struct fault *why);

/* Would governor_ask() refuse <target> on its own account, with R_DIAL_BACKOFF
   or R_DIAL_RATE in <why>? Nothing is counted. */
NODISCARD bool governor_refuses(struct governor *g,
    const struct credential *target, uint64_t now_ms, struct fault *why);

/*
 * Is the refusal <why> of a dial worth a line? True for a device's first and
 * then for one a minute, to which the number of those in between is
 * added: a device that knocks in a tight loop must not fill the log.
 */
bool governor_is_news(struct governor *g, const struct credential *target,
    uint64_t now_ms, struct fault *why);

/* The login goes out: the dial counts from now. The cloud counts logins, and
   the way to one may take longer than to another. */
void governor_login(
    struct governor *g, const struct credential *target, uint64_t now_ms);

/* The dial, or its link, failed: a back-off begins. One that came to no login
   does not count for the device's rate. */
void governor_failed(struct governor *g, const struct credential *target,
    enum dial_failure kind, uint64_t now_ms);

/*
 * Behind governor_failed() with DIAL_KICKED, when it was the cloud that ended
 * the link. True: that has happened GOVERNOR_USED_ELSEWHERE times in a row or
 * more, *times, as where somebody else logs in with the same identity; and it
 * is worth a line: of a device at most one a minute is.
 */
NODISCARD bool governor_is_used_elsewhere(struct governor *g,
    const struct credential *target, uint64_t now_ms, unsigned *times);

/* Its link has held for [dial] stable_after: all failures are forgotten. */
void governor_stable(struct governor *g, const struct credential *target);

/* How many devices something is kept of. */
size_t governor_count(const struct governor *g);

/*
 * The back-off after failure number <in_a_row>, from 1 on: <first_ms>, doubled
 * for each after the first, at most <max_ms>, times something between 1
 * (<random> is 0) and 0.5 (it is UINT32_MAX). Both times are at most a day.
 */
uint64_t dial_backoff_ms(
    uint64_t first_ms, uint64_t max_ms, unsigned in_a_row, uint32_t random);

#endif
