/* SPDX-License-Identifier: Apache-2.0
 *
 * What the profile and the trace of objects are told of an object, from slow paths only. No lock
 * is held; any thread, signal handlers too.
 */
#ifndef MAL_FRONT_RECORD_H
#define MAL_FRONT_RECORD_H

#include "base/attr.h"
#include "front/init.h"
#include "front/object_trace.h"
#include "front/thread.h"
#include "sample/profile.h"

#include <stdbool.h>
#include <stdint.h>

/* Part of its callers, as they are of theirs: each function of ours is a frame that the walk has to
 * pass. */
MAL_FAST bool mal_record_sample(void *object, uint64_t size_bytes, enum mal_due due,
                                uint64_t rate) {
    mal_init_check_fork();
    if (due == MAL_DUE_OWN)
        return mal_profile_own_alloc((uintptr_t)object, size_bytes);
    mal_thread.flags |= MAL_THREAD_BUSY;
    bool recorded = mal_profile_alloc((uintptr_t)object, size_bytes, rate, MAL_BOX_KIND_MALLOC);
    mal_thread.flags &= (uint8_t)~MAL_THREAD_BUSY;
    return recorded;
}

/* An object has come to be. Whether its free is to be noticed. */
MAL_FAST bool mal_record_alloc(void *object, uint64_t size_bytes, enum mal_due due, uint64_t rate) {
    bool sampled = due != MAL_DUE_NOTHING && mal_record_sample(object, size_bytes, due, rate);
    return (mal_object_trace_is_on() && mal_object_trace_alloc(object, size_bytes)) || sampled;
}

/* An object is about to be freed whose free was to be noticed. One that is only marked because it
 * is traced is not known to the profile. */
static inline void mal_record_free(void *object, uint64_t size_bytes) {
    mal_object_trace_free(object, size_bytes);
    mal_profile_free((uintptr_t)object, size_bytes);
}

#endif
