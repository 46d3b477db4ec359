/*
 * proof: what a device has to show so that it is let in as an entry: nothing,
 * a local password, or a login that it has signed with its own secret. Pure.
 */
#ifndef PROXY_SETTINGS_PROOF_H
#define PROXY_SETTINGS_PROOF_H

#include "base/attr.h"
#include "base/fault.h"
#include "codec/mqtt_connect.h"
#include "settings/credmap.h"

#include <stdbool.h>

/*
 * Whether <shown> proves that it is the device of <c>; false: <why>, with the
 * label, says what it lacks. Of an entry with a hash: whether it shows a
 * password that could be the one, SECRET_MAX bytes at most; the rest is the
 * hasher's. In constant time for passwords of one length.
 */
NODISCARD bool proof_given(const struct credential *c,
    const struct mqtt_connect *shown, struct fault *why);

/* True when both ask a device for the same. */
bool proof_same(const struct credential *a, const struct credential *b);

#endif
