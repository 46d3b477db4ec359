/*
 * contest: a device knocks while another one of the same identity is in, or
 * about to be: who of them gets the place. On the worker's thread.
 *
 *  - second_device = refuse: who is in.
 *  - Two that throw each other out again and again (server/rivals.h): who is in
 *    has the more time the longer that goes on. Of two with different addresses
 *    every take-over counts. Behind one address (a NAT) two devices look like
 *    one that connects again, but for this: a device that connects again has
 *    given up its old connection, which is thus silent, or answers our end with
 *    a reset; of two, the one that is thrown out was well, and ends its
 *    connection in order after us. Only such take-overs count there, so a
 *    device with a bad radio is no loop; one that closes its old connection
 *    late, three times in a minute, would be taken for one.
 *  - The governor would refuse the dial that follows: who is in, since else
 *    nobody would be. Unless it seems lost (session_seems_lost()): then its
 *    end is only told earlier.
 *  - Else who knocks (MQTT-3.1.4-2).
 */
#ifndef PROXY_SERVER_CONTEST_H
#define PROXY_SERVER_CONTEST_H

#include "base/attr.h"
#include "base/take_overs.h"
#include "link/governor.h"
#include "server/farewell.h"
#include "server/identities.h"

#include <stdbool.h>

/* What a worker lends. */
struct contest {
	struct farewell farewell;
	struct governor *governor;
	struct take_overs *take_overs;
};

/* True: <k> is to have the place of the session of <id>, which there is. False:
   it was refused and is gone. */
NODISCARD bool contest_win(
    const struct contest *c, struct identity *id, struct knock *k);

#endif
