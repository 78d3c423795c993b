/* SPDX-License-Identifier: Apache-2.0
 *
 * Relief: what a thread that allocates does when the heap has passed its memory limit.
 *
 * The thread has taken its memory and has not touched it: what it gives back now, it gives back
 * before the process grows. Four steps, each only as far as the one before did not suffice,
 * cheapest and least missed first: idle pages from the top of the heap; spans that central lists
 * keep without an object; what lies in transfer caches and in this CPU's cache; holes inside spans.
 *
 * It is work on somebody else's time, so it is bounded thrice: by what is wanted, by a time that
 * grows with what is new of it, and by a pause afterwards (pageheap/limit.h) during which the heap
 * may grow past the limit. The background goes on from there.
 *
 * SYNCHRONIZATION: one thread at a time, by mal_limit_begin_relief; the others go on allocating.
 * `cursor_page` belongs to it. No lock is held between steps.
 */
#include "base/bits.h"
#include "central/central.h"
#include "meta/classes.h"
#include "os/clock.h"
#include "pageheap/limit.h"

struct relief {
    uint64_t wanted_bytes;
    uint64_t released_bytes;
    uint64_t end_ns;
    void (*drain_cpu)(void);
};

static void release_pages(struct relief *relief) {
    relief->released_bytes += mal_scavenger_release(relief->wanted_bytes - relief->released_bytes,
                                                    relief->end_ns, MAL_SCAVENGE_EAGER);
}

static void give_up_empty_spans(struct relief *relief) {
    if (mal_central_empty_bytes() == 0)
        return;
    mal_central_release_empty();
    release_pages(relief);
}

static void empty_caches(struct relief *relief) {
    uint64_t start_ns = mal_clock_thread_ns();
    relief->drain_cpu();
    for (uint32_t class = 1; class < MAL_CLASS_COUNT; class ++)
        mal_central_flush(class);
    mal_scavenger_count(MAL_SCAVENGE_EAGER, 0, mal_clock_thread_ns() - start_ns);
    release_pages(relief);
}

static void make_holes(struct relief *relief) {
    static size_t cursor_page;
    struct mal_hole_request request = {relief->wanted_bytes - relief->released_bytes,
                                       relief->end_ns, 0, MAL_SCAVENGE_EAGER};
    relief->released_bytes += mal_central_make_holes(&request, &cursor_page);
}

static void (*const steps[])(struct relief *relief) = {release_pages, give_up_empty_spans,
                                                       empty_caches, make_holes};

bool mal_central_is_over_limit(void) {
    return mal_limit_is_passed();
}

/* The pause follows the CPU time spent, not how long others kept the CPU meanwhile. */
void mal_central_relieve(void (*drain_cpu)(void)) {
    uint64_t now_ns = mal_clock_mono_ns();
    uint64_t wanted = mal_limit_relief_of(mal_limit_bytes(), mal_limit_ready_bytes());
    if (wanted == 0 || !mal_limit_begin_relief(now_ns))
        return;
    uint64_t start_ns = mal_clock_thread_ns();
    uint64_t most_ns = mal_limit_relief_ns_of(wanted, mal_limit_standing_bytes());
    struct relief relief = {wanted, 0, now_ns + most_ns, drain_cpu};
    for (unsigned i = 0; i < MAL_COUNT_OF(steps) && relief.released_bytes < wanted; i++)
        steps[i](&relief);
    uint64_t spent_ns = mal_clock_thread_ns() - start_ns;
    uint64_t quiet_ns = mal_limit_quiet_of(spent_ns, wanted, relief.released_bytes);
    mal_limit_end_relief(mal_clock_mono_ns(), quiet_ns,
                         wanted - mal_min(wanted, relief.released_bytes));
}

uint64_t mal_central_share(uint64_t most_bytes) {
    return mal_limit_share_now(most_bytes);
}
