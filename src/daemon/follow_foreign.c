/* SPDX-License-Identifier: Apache-2.0
 *
 * Boxes of other versions. After an upgrade processes go on with the library that they were
 * started with. Their boxes cannot be read, so they are missing from what is shown and kept, and
 * whoever looks for one finds the reason here: a line each, once.
 *
 * Anyone may write a file that begins so: only that of a process that runs, and that may have made
 * it, is worth a line. Those that were told of last are remembered; a scan finds a file once or
 * twice more.
 *
 * SYNCHRONIZATION  Loop's thread.
 */
#include "daemon/follow.h"

#include "daemon/say.h"

#include <inttypes.h>

static bool was_told(const struct follow_told *told, const struct discovered_foreign *foreign) {
    for (size_t i = 0; i < FOLLOW_TOLD_MAX; i++)
        if (told->pid[i] == foreign->pid && told->start_ticks[i] == foreign->start_ticks)
            return true;
    return false;
}

static void remember(struct follow_told *told, const struct discovered_foreign *foreign) {
    size_t at = told->count++ % FOLLOW_TOLD_MAX;
    told->pid[at] = foreign->pid;
    told->start_ticks[at] = foreign->start_ticks;
}

void follow_foreign(struct follower *follower, struct folder *folder, const char *name) {
    struct discovered_foreign foreign;
    if (!discover_foreign(&follower->discoverer, folder, name, &foreign) ||
        was_told(&follower->told, &foreign))
        return;
    remember(&follower->told, &foreign);
    daemon_say("process %" PRIu32 " is left alone: its box was written by another version of "
               "Mallard, of layout %" PRIu32 ", and mallardd reads %u",
               foreign.pid, foreign.version, MAL_BOX_VERSION);
}
