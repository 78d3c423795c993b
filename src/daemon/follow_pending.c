/* SPDX-License-Identifier: Apache-2.0
 *
 * Files named like boxes that are none, yet: a process makes its file first and fills it through a
 * mapping, which no event tells. They are looked at again after one millisecond, two, four and so
 * on, for half a minute. What is no box then is either the wreck of a process that was killed at
 * its very start, which is removed and counted, or not our matter.
 *
 * SYNCHRONIZATION  Loop's thread.
 */
#include "daemon/follow.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PENDING_MAX 4096u
#define FIRST_RETRY_NS 1000000ull
#define TRIES_MAX 15u
#define TRIES_BEFORE_WRECK 6u /* 63 ms: its process had time to begin, or to be found dead */

void follow_pend(struct follower *follower, struct folder *folder, const char *name) {
    for (size_t i = 0; i < follower->pending_count; i++)
        if (follower->pending[i].folder == folder && strcmp(follower->pending[i].name, name) == 0)
            return;
    if (follower->pending_count == follower->pending_capacity) {
        size_t capacity = follower->pending_capacity > 0 ? follower->pending_capacity * 2 : 16;
        struct pending *items = capacity <= PENDING_MAX
                                    ? reallocarray(follower->pending, capacity, sizeof *items)
                                    : NULL;
        if (items == NULL)
            return;
        follower->pending = items;
        follower->pending_capacity = capacity;
    }
    struct pending *pending = &follower->pending[follower->pending_count++];
    *pending =
        (struct pending){.folder = folder_ref(folder), .next_ns = follow_now_ns() + FIRST_RETRY_NS};
    memcpy(pending->name, name, strlen(name) + 1);
}

void follow_pending_drop(struct follower *follower, size_t i) {
    folder_unref(follower->pending[i].folder);
    follower->pending[i] = follower->pending[--follower->pending_count];
}

static bool clear_wreck(struct follower *follower, const struct pending *pending) {
    if (!discover_is_wreck(&follower->discoverer, pending->folder, pending->name))
        return false;
    if (unlinkat(pending->folder->fd, pending->name, 0) == 0)
        daemon_count(&follower->counters->boxes_removed, 1);
    return true;
}

/* True when the matter is settled. */
static bool try_again(struct follower *follower, struct pending *pending, uint64_t now_ns) {
    if (follow_look(follower, pending->folder, pending->name))
        return true;
    pending->tries++;
    if (pending->tries >= TRIES_BEFORE_WRECK && clear_wreck(follower, pending))
        return true;
    pending->next_ns = now_ns + (FIRST_RETRY_NS << pending->tries);
    return pending->tries >= TRIES_MAX;
}

uint64_t follow_pending_turn(struct follower *follower, uint64_t now_ns) {
    uint64_t next_ns = FOLLOW_IDLE;
    for (size_t i = follower->pending_count; i-- > 0;) {
        struct pending *pending = &follower->pending[i];
        if (pending->next_ns <= now_ns && try_again(follower, pending, now_ns))
            follow_pending_drop(follower, i);
        else if (pending->next_ns < next_ns)
            next_ns = pending->next_ns;
    }
    return next_ns;
}
