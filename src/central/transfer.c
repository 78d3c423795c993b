/* SPDX-License-Identifier: Apache-2.0
 *
 * Transfer caches.
 *
 * Per class: an array of free objects in last-in-first-out order, so that a batch freed on one CPU
 * goes to the next CPU that wants one without touching spans. Path up: the top. Path down: what
 * has room; what has none goes into its span (central/central.c), and so does all of it when the
 * class lies idle.
 *
 *     transfer_used <= transfer_capacity, which is bounded in objects and in bytes
 *
 * It is small on purpose. Objects come out in the order of their frees, those of a span's bits in
 * that of addresses, which programs walk in: with 8 MiB a class trees took 1.23 times as long.
 *
 * SYNCHRONIZATION: the class's lock.
 *
 * Must never read or write an object's own memory.
 */
#include "base/bits.h"
#include "central/central_private.h"
#include "meta/classes.h"
#include "meta/memory.h"
#include "pageheap/limit.h"

#define TRANSFER_BATCHES 4u
#define TRANSFER_OBJECTS_MIN 64u /* unless so many would be more than TRANSFER_BYTES_MAX */
#define TRANSFER_BYTES_MAX (256u << 10)

size_t mal_transfer_take(struct central *central, void **ret_objects, size_t count) {
    count = mal_min(count, central->transfer_used);
    for (size_t i = 0; i < count; i++)
        ret_objects[i] = central->transfer[--central->transfer_used];
    return count;
}

/* Makes the array on first need; without memory there is simply none. */
static void ensure_array(struct central *central, uint32_t class) {
    const struct mal_class_info *info = &mal_class[class];
    if (central->transfer_capacity > 0)
        return;
    size_t capacity = mal_max((size_t)info->batch * TRANSFER_BATCHES, TRANSFER_OBJECTS_MIN);
    capacity = mal_min(capacity, mal_max(TRANSFER_BYTES_MAX / info->size_bytes, 1));
    central->transfer = mal_meta_alloc(capacity * sizeof(void *), MAL_META_CACHE);
    if (central->transfer)
        central->transfer_capacity = (uint32_t)capacity;
}

/* Near a memory limit what is given back goes back into its span. */
static size_t room(const struct central *central) {
    uint32_t capacity = (uint32_t)mal_limit_share_now(central->transfer_capacity);
    return capacity > central->transfer_used ? capacity - central->transfer_used : 0;
}

size_t mal_transfer_keep(struct central *central, uint32_t class, void *const *objects,
                         size_t count) {
    ensure_array(central, class);
    count = mal_min(room(central), count);
    for (size_t i = 0; i < count; i++)
        central->transfer[central->transfer_used++] = objects[i];
    return count;
}
