/* SPDX-License-Identifier: Apache-2.0
 *
 * Recording samples: stacks and buckets in the box, live objects beside it.
 */
#ifndef MAL_SAMPLE_PROFILE_H
#define MAL_SAMPLE_PROFILE_H

#include "box/layout.h"
#include "box/writer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the box is made with when the first sample, or the background thread, needs it. Constant
 * after init. */
struct mal_profile_config {
    const char *options; /* text for the box's header */
    unsigned cpus;
    const void *skip_low; /* our own code: frames in it are not shown */
    const void *skip_high;
    bool (*is_own_process)(void); /* false in a child of vfork: it has this memory, not this pid */
    uint64_t (*current_rate)(void); /* what the box says is in force when it is made */
};
void mal_profile_configure(const struct mal_profile_config *config);

/* Makes the box if there is none. False when memory is short, and in a child of vfork before its
 * parent has a box; nothing is sampled meanwhile. No lock held. */
bool mal_profile_ensure_box(void);
/* The same, for who asks often: after a failure it is tried again after a second at the earliest,
 * then two, four and so on. */
bool mal_profile_ensure_box_in_time(void);

/* The process ends: marks its box, if there is one, and opens none from here on. Waits a moment for
 * a box that is just being opened, but not for ever: the caller may be a signal handler. */
void mal_profile_end(int exit_code, enum mal_writer_end end);

/* Takes the box's name away, while that is still allowed: it ends with the process. No lock held.
 */
void mal_profile_hide(void);

/* Records a sample of an object at `address` that was drawn at `rate_bytes`: takes the caller's
 * stack and counts it. False when it could not be remembered (and was counted as dropped): the
 * object must then not be marked as sampled. No lock held. */
bool mal_profile_alloc(uintptr_t address, uint64_t size_bytes, uint64_t rate_bytes,
                       enum mal_box_kind kind);

/* The rate in force. */
uint64_t mal_profile_rate(void);

/* The same for an object of one of Mallard's own threads: counted apart, no stack. */
bool mal_profile_own_alloc(uintptr_t address, uint64_t size_bytes);

/* Records that a sampled object was freed, of the size it was recorded with. False: the address is
 * not known. */
bool mal_profile_free(uintptr_t address, uint64_t size_bytes);

/* Summed up from the buckets when asked for: a counter for all threads would be a line that every
 * sample has to fetch from another CPU. In a forked child: since its box was made, what it
 * inherited included. */
struct mal_profile_stats {
    uint64_t samples;
    uint64_t live;
    uint64_t own_bytes;
};
struct mal_profile_stats mal_profile_stats(void);

/* In a forked child: the parent's live samples become this process's inheritance as soon as it
 * makes a box of its own. */
void mal_profile_forget_in_child(void);

void mal_profile_before_fork(void);
void mal_profile_after_fork(void);

#endif
