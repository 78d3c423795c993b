/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving large objects.
 *
 * An object that grows out of its place has its old and its new place for a while. Copied, both are
 * resident, and the new one costs a fault a page. So the kernel moves the pages (mremap): the old
 * place stays mapped and is empty, the new one has what it had, and what it had before is gone.
 * That pays where the new place had no memory yet; where most of it is resident, copying is cheaper
 * than the faults that a place thrown away costs its next user.
 *
 * What the program locked into memory (mlock) is copied: the kernel would unlock what it moves
 * from, and all of the mapping around it.
 *
 * A moved place is a mapping of its own, because the kernel remembers where its pages came from.
 * When it is freed or cut, fresh pages are mapped over it, which lets the kernel join it with the
 * heap around. So there are at most two mappings more for each object alive that was moved, and
 * there is a bound on how many of them there may be.
 *
 * The kernel puts the pages in place of what was there in one step, which needs no address space.
 * Where it fails in the middle of it, the place may be lost: an address-space limit was set below
 * what the process has. Its pages are used for ever then, objects are copied from there on, and so
 * that happens about once in a process.
 *
 * SYNCHRONIZATION: a span and its place belong to who owns the object. The count is a relaxed
 * atomic, and a bound of policy; so is whether a place was lost. No lock is held in a system call.
 */
#include "pageheap/move.h"

#include "base/atomic.h"
#include "meta/classes.h"
#include "os/vm.h"

#include <stdint.h>

#define MOVED_MAX 1000u /* a process may have 65530 mappings */

static uint64_t moved_spans; /* alive; relaxed atomic */
static uint32_t lost_place;  /* relaxed atomic; 1 once a place was lost */

static size_t bytes_of(size_t pages) {
    return pages << MAL_PAGE_SHIFT;
}

static bool is_worth_moving(const struct mal_span *to) {
    return to->flags & MAL_SPAN_FRESH && mal_vm_page_bytes() <= MAL_PAGE_BYTES &&
           mal_load_relaxed(&lost_place) == 0 && mal_load_relaxed(&moved_spans) < MOVED_MAX;
}

/* Room to grow into is not resident either. */
static void empty_room(const struct mal_span *to, size_t used_bytes) {
    size_t room_bytes = bytes_of(to->pages) - used_bytes;
    if (room_bytes > 0 && !(to->flags & MAL_SPAN_ZEROED))
        mal_vm_release(to->base + used_bytes, room_bytes);
}

/* The room behind what was to be moved goes too. */
static enum mal_move lose(struct mal_span *to) {
    mal_vm_unmap(to->base, bytes_of(to->pages));
    to->flags |= MAL_SPAN_LOST;
    mal_store_relaxed(&lost_place, 1u);
    return MAL_MOVE_LOST;
}

enum mal_move mal_move_large(struct mal_span *from, struct mal_span *to) {
    size_t bytes = bytes_of(from->pages);
    if (!is_worth_moving(to))
        return MAL_MOVE_REFUSED;
    int error = mal_vm_move(from->base, to->base, bytes);
    if (error)
        return error == MAL_VM_PLACE_LOST ? lose(to) : MAL_MOVE_REFUSED;
    empty_room(to, bytes);
    from->flags |= MAL_SPAN_GONE;
    to->flags = MAL_SPAN_MOVED;
    mal_add_relaxed(&moved_spans, 1);
    return MAL_MOVE_DONE;
}

bool mal_move_cut(struct mal_span *span, size_t pages) {
    return span->flags & MAL_SPAN_MOVED &&
           mal_vm_renew(span->base + bytes_of(pages), bytes_of(span->pages - pages)) == 0;
}

void mal_move_end(struct mal_span *span) {
    if (!(span->flags & MAL_SPAN_MOVED))
        return;
    if (mal_move_cut(span, 0))
        span->flags |= MAL_SPAN_GONE;
    mal_sub_relaxed(&moved_spans, 1);
}
