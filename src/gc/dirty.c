/* SPDX-License-Identifier: Apache-2.0
 *
 * Which dirty-page backend is used.
 *
 * The backends in order of preference are asked to open and then tested; the first that passes is
 * taken. The last one is `none`, which watches nothing and says so: for its user every range counts
 * as written whenever it asks, which is right everywhere, and the cycle marks with the world
 * stopped.
 *
 * SYNCHRONIZATION: `forced` is set before the collector's thread starts.
 *
 * It must never keep a backend whose test failed.
 */
#include "gc/dirty.h"

#include "base/attr.h"

#include <errno.h>
#include <string.h>

static const struct mal_gc_dirty *forced;

static int refuse(void) {
    return -ENOTSUP;
}

static int open_none(void) {
    return 0;
}

static void nothing(void) {}

static int add_none(uintptr_t low MAL_UNUSED, uintptr_t high MAL_UNUSED) {
    return refuse();
}

static int scan_none(uintptr_t low MAL_UNUSED, uintptr_t high MAL_UNUSED,
                     mal_gc_dirty_visit *visit MAL_UNUSED, void *context MAL_UNUSED) {
    return refuse();
}

static void release_none(uintptr_t low MAL_UNUSED, uintptr_t high MAL_UNUSED) {}

const struct mal_gc_dirty mal_gc_dirty_none = {
    .name = "none",
    .open = open_none,
    .close = nothing,
    .add = add_none,
    .clear = scan_none,
    .look = scan_none,
    .unprotect = release_none,
    .release = release_none,
    .forget_in_child = nothing,
};

static const struct mal_gc_dirty *const backends[] = {&mal_gc_dirty_uffd, &mal_gc_dirty_none};

bool mal_gc_dirty_force(const char *name) {
    if (!name) {
        forced = NULL;
        return true;
    }
    for (size_t i = 0; i < MAL_COUNT_OF(backends); i++) {
        if (strcmp(backends[i]->name, name) == 0) {
            forced = backends[i];
            return true;
        }
    }
    return false;
}

static bool works(const struct mal_gc_dirty *dirty) {
    if (dirty->open() != 0)
        return false;
    if (mal_gc_dirty_self_test(dirty) == 0)
        return true;
    dirty->close();
    return false;
}

const struct mal_gc_dirty *mal_gc_dirty_choose(void) {
    for (size_t i = 0; i < MAL_COUNT_OF(backends); i++) {
        const struct mal_gc_dirty *dirty = backends[i];
        if (dirty != &mal_gc_dirty_none && (!forced || forced == dirty) && works(dirty))
            return dirty;
    }
    return &mal_gc_dirty_none;
}
