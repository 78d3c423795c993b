/* SPDX-License-Identifier: Apache-2.0
 *
 * The flag of confined.h.
 *
 * SYNCHRONIZATION. The flag is a relaxed atomic and only ever set: a thread that does not see it
 * yet acts as before.
 */
#include "os/confined.h"

#include "base/atomic.h"
#include "base/attr.h"
#include "os/thread.h"

#include <stdint.h>

static uint32_t confined; /* relaxed atomic; once set it stays */

void mal_confine(void) {
    mal_store_relaxed(&confined, 1u);
}

bool mal_process_is_confined(void) {
    return MAL_UNLIKELY(mal_load_relaxed(&confined) != 0);
}

bool mal_is_confined(void) {
    return mal_process_is_confined() && !mal_thread_is_noted_own();
}
