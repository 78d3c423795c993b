/* SPDX-License-Identifier: Apache-2.0
 *
 * Holes: memory given back inside spans that stay.
 *
 * One live object keeps a span of 64 KiB and more. All that we keep inside a free object is the
 * mark that it is free (meta/freed.h), and its state byte can say so instead; so the OS pages that
 * lie under free objects alone can go back one by one, and the span goes on as it is: an object
 * there reads as zero when it is next taken, which costs its page a fault. So only spans that lay
 * idle are treated, and what is taken from a hole is counted.
 *
 * The heap is walked by address, not by list, since lists change while no lock is held: the page
 * map names a span, its class's lock makes it stand still, and then it is looked at again. While
 * the kernel takes the pages the span is on no list (BUSY) and no lock is held: frees into it go
 * on, nothing can be taken from it.
 *
 * A span made of untouched pages begins as one hole, so that what is free in spans is known to be
 * there or not.
 *
 * Where the OS refuses, as it does for all that a program locks (mlockall), a span has got state
 * bytes of its own for nothing: after a few refusals in a row nothing is tried for a while.
 *
 * A unit is one OS page. Where OS pages are larger than Mallard's there are no holes.
 *
 * SYNCHRONIZATION: a span's bits, flags and counts: its class's lock. `working` is taken by
 * exchange; `busy` belongs to its holder, and to the only thread of a forked child; `refusals` and
 * `refused_tick` to its holder.
 *
 * Must never release a byte of an object that is handed out: the unit's bits are all free, under
 * the lock, when the span is made busy, and a busy span hands out nothing.
 */
#include "base/atomic.h"
#include "base/bits.h"
#include "central/central_private.h"
#include "meta/pagemap.h"
#include "os/clock.h"
#include "os/vm.h"
#include "pageheap/limit.h"
#include "pageheap/pageheap.h"

#include <string.h>

#define STEPS_PER_LOOK 64u        /* at the clock */
#define REFUSALS 4u               /* in a row, and the OS is asked no more */
#define REFUSED_TICKS 10u         /* for so long */
#define LONGEST_NS 1000000000000u /* beyond any budget */

static uint32_t tick;         /* background thread writes, relaxed */
static uint32_t working;      /* 1 while somebody makes holes */
static struct mal_span *busy; /* the span that is BUSY, NULL none */
static MAL_THREAD bool working_here;
static uint32_t refusals;     /* spans in a row of which the OS took nothing */
static uint32_t refused_tick; /* of the last one */

uint8_t mal_central_now(void) {
    return (uint8_t)mal_load_relaxed(&tick);
}

void mal_central_tick(void) {
    mal_store_relaxed(&tick, mal_load_relaxed(&tick) + 1);
}

static uint32_t units_of(const struct mal_span *span) {
    return (uint32_t)(mal_span_bytes(span) / mal_vm_page_bytes());
}

uint64_t mal_central_hole_bytes(const struct mal_span *span) {
    uint64_t units = 0;
    for (unsigned word = 0; span->flags & MAL_SPAN_HOLED && word < MAL_COUNT_OF(span->holes);
         word++)
        units += mal_popcount(span->holes[word]);
    return units * mal_vm_page_bytes();
}

void mal_central_count_holes(struct central *central, int64_t change_bytes) {
    central->stats.holes_bytes += (uint64_t)change_bytes;
    mal_limit_note_holes(change_bytes);
}

/* ---- taking from holes ---- */

static bool bit_at(const uint64_t *bits, uint32_t unit) {
    return bits[unit / 64] >> (unit % 64) & 1;
}

/* Pages that were never touched are holes too, but nothing is lost when they are first used: ZEROED
 * stays until memory of the span is given back. */
void mal_central_note_fresh(struct central *central, struct mal_span *span) {
    uint32_t units = units_of(span);
    if (units > MAL_SPAN_HOLES_MAX || mal_vm_page_bytes() > MAL_PAGE_BYTES)
        return;
    for (uint32_t word = 0; word * 64 < units; word++)
        span->holes[word] = mal_mask(0, (unsigned)mal_min(64, units - word * 64));
    span->flags |= MAL_SPAN_HOLED;
    mal_central_count_holes(central, (int64_t)mal_central_hole_bytes(span));
}

static bool has_holes(const struct mal_span *span) {
    uint64_t any = 0;
    for (unsigned word = 0; word < MAL_COUNT_OF(span->holes); word++)
        any |= span->holes[word];
    return any != 0;
}

/* The units under the objects are in use again. Returns how many were holes. Objects come in the
 * order of their addresses, so a unit is looked at once. */
static uint64_t fill_under(struct mal_span *span, void **objects, size_t count) {
    unsigned shift = mal_log2_floor(mal_vm_page_bytes());
    uint32_t size_bytes = mal_class[span->class].size_bytes;
    uint64_t filled = 0, next = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t offset = (uint64_t)((char *)objects[i] - span->base);
        uint64_t last = (offset + size_bytes - 1) >> shift;
        for (uint64_t unit = mal_max(offset >> shift, next); unit <= last; unit++) {
            filled += bit_at(span->holes, (uint32_t)unit);
            span->holes[unit / 64] &= ~(1ull << (unit % 64));
        }
        next = last + 1;
    }
    return filled;
}

void mal_central_fill_holes(struct central *central, struct mal_span *span, void **objects,
                            size_t count) {
    uint64_t bytes = fill_under(span, objects, count) * mal_vm_page_bytes();
    mal_central_count_holes(central, -(int64_t)bytes);
    if (!(span->flags & MAL_SPAN_ZEROED))
        central->stats.refilled_bytes += bytes;
    if (bytes > 0 && !has_holes(span))
        span->flags &= (uint8_t)~MAL_SPAN_HOLED;
}

/* ---- making holes ---- */

static bool all_free(const struct mal_span *span, uint32_t first, uint32_t last) {
    for (uint32_t index = first; index <= last;) {
        uint32_t in_word = (uint32_t)mal_min(64 - index % 64, last - index + 1);
        uint64_t mask = mal_mask(index % 64, in_word);
        if ((span->free_bits[index / 64] & mask) != mask)
            return false;
        index += in_word;
    }
    return true;
}

/* Whether only free objects lie in a unit. What is behind the last object was never touched. */
static bool unit_is_free(const struct mal_span *span, uint32_t unit) {
    uint64_t unit_bytes = mal_vm_page_bytes();
    uint32_t size = mal_class[span->class].size_bytes;
    uint64_t first = unit * unit_bytes / size;
    uint64_t last = mal_min((unit * unit_bytes + unit_bytes - 1) / size, span->object_count - 1u);
    return first <= last && all_free(span, (uint32_t)first, (uint32_t)last);
}

/* Sets the bits of units that can be given back now. Returns how many. */
static uint32_t find_units(const struct mal_span *span,
                           uint64_t ret_bits[MAL_SPAN_HOLES_MAX / 64]) {
    uint32_t count = 0;
    memset(ret_bits, 0, sizeof span->holes);
    for (uint32_t unit = 0; unit < units_of(span); unit++) {
        if (bit_at(span->holes, unit) || !unit_is_free(span, unit))
            continue;
        ret_bits[unit / 64] |= 1ull << (unit % 64);
        count++;
    }
    return count;
}

/* Releases runs of set bits; clears the bits of those that the OS refuses. */
static uint32_t release_units(const struct mal_span *span, uint64_t *bits) {
    size_t unit_bytes = mal_vm_page_bytes();
    uint32_t units = units_of(span);
    uint32_t released = 0;
    for (uint32_t first = 0, limit; first < units; first = limit) {
        bool wanted = bit_at(bits, first);
        for (limit = first + 1; limit < units && bit_at(bits, limit) == wanted;)
            limit++;
        if (!wanted)
            continue;
        if (mal_vm_release(span->base + first * unit_bytes, (limit - first) * unit_bytes) == 0)
            released += limit - first;
        else
            for (uint32_t unit = first; unit < limit; unit++)
                bits[unit / 64] &= ~(1ull << (unit % 64));
    }
    return released;
}

static void add_holes(struct central *central, struct mal_span *span, const uint64_t *bits,
                      uint32_t count) {
    for (unsigned word = 0; word < MAL_COUNT_OF(span->holes); word++)
        span->holes[word] |= bits[word];
    if (count > 0)
        span->flags = (uint8_t)((span->flags | MAL_SPAN_HOLED) & ~MAL_SPAN_ZEROED);
    mal_central_count_holes(central, (int64_t)(count * mal_vm_page_bytes()));
}

static bool is_idle(const struct mal_span *span, uint32_t idle_ticks) {
    return (uint8_t)(mal_central_now() - span->touched_tick) >= idle_ticks;
}

void mal_central_say_start(void **objects, size_t count) {
    for (size_t i = 0; i < count; i++)
        mal_pagemap_say_start(objects[i]);
}

/* What lies in a hole loses the mark that says it is free (meta/freed.h), so the state bytes of the
 * span's free objects say it instead, until they are taken. False when memory is short. */
static bool say_free(struct mal_span *span) {
    size_t size_bytes = mal_class[span->class].size_bytes;
    if (!mal_pageheap_own_states(span))
        return false;
    span->flags |= MAL_SPAN_UNMARKED;
    for (unsigned word = 0; word < MAL_COUNT_OF(span->free_bits); word++)
        for (uint64_t bits = span->free_bits[word]; bits != 0; bits &= bits - 1) {
            unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
            mal_pagemap_set_state(span->base + index * size_bytes, 0);
        }
    return true;
}

static void note_answer(uint32_t released) {
    refusals = released > 0 ? 0 : refusals + 1;
    refused_tick = mal_load_relaxed(&tick);
}

/* After the pause one more refusal is enough. */
static bool is_refused_lately(void) {
    return refusals >= REFUSALS && mal_load_relaxed(&tick) - refused_tick < REFUSED_TICKS;
}

/* Makes holes in a span whose class is locked; drops and takes the lock. Returns the bytes. */
static uint64_t treat(struct central *central, struct mal_span *span) {
    uint64_t bits[MAL_SPAN_HOLES_MAX / 64];
    if (find_units(span, bits) == 0 || !say_free(span))
        return 0;
    mal_central_unlist(central, span);
    span->flags |= MAL_SPAN_BUSY;
    busy = span;
    mal_central_unlock_class(central);
    uint32_t released = release_units(span, bits);
    note_answer(released);
    mal_central_lock_class(span->class);
    busy = NULL;
    span->flags &= (uint8_t)~MAL_SPAN_BUSY;
    add_holes(central, span, bits, released);
    mal_central_list(central, span);
    return released * mal_vm_page_bytes();
}

/* Treats the span at a page, if one of a class begins there. *ret_pages is how far to go on. */
static uint64_t treat_page(size_t page, uint32_t idle_ticks, size_t *ret_pages) {
    uint32_t class = mal_entry_class(mal_load_relaxed(&mal_pagemap.entry[page]));
    *ret_pages = 1;
    if (class - 1 >= MAL_CLASS_COUNT - 1)
        return 0;
    struct central *central = mal_central_lock_class(class);
    struct mal_span *span = mal_load_relaxed(&mal_pagemap.span[page]);
    bool same = mal_entry_class(mal_load_relaxed(&mal_pagemap.entry[page])) == class && span &&
                span->base == mal_pagemap_address(page);
    uint64_t bytes = 0;
    if (same) {
        *ret_pages = span->pages;
        if (span->free_count > 0 && is_idle(span, idle_ticks))
            bytes = treat(central, span);
    }
    mal_central_unlock_class(central);
    return bytes;
}

static size_t heap_end(void) {
    return mal_load_acquire(&mal_pagemap.extent_granules) >> MAL_GRANULES_PER_PAGE_SHIFT;
}

/* On a loaded machine time passes without work: what is left is spent as CPU time. */
static uint64_t time_left(uint64_t end_ns) {
    uint64_t now_ns = mal_clock_mono_ns();
    return end_ns > now_ns ? mal_min(end_ns - now_ns, LONGEST_NS) : 0;
}

static uint64_t walk(const struct mal_hole_request *request, size_t *cursor_page) {
    uint64_t released = 0;
    size_t end = heap_end();
    size_t page = *cursor_page;
    unsigned steps = 0;
    uint64_t end_ns = mal_clock_thread_ns() + time_left(request->end_ns);
    for (size_t pages; page < end && released < request->most_bytes && !is_refused_lately();
         page += pages) {
        uint64_t bytes = treat_page(page, request->idle_ticks, &pages);
        released += bytes;
        if ((bytes > 0 || ++steps % STEPS_PER_LOOK == 0) && mal_clock_thread_ns() >= end_ns)
            break;
    }
    *cursor_page = page < end ? page : 0;
    return released;
}

uint64_t mal_central_make_holes(const struct mal_hole_request *request, size_t *cursor_page) {
    if (mal_vm_page_bytes() > MAL_PAGE_BYTES || mal_exchange_acquire(&working, 1u) != 0)
        return 0;
    uint64_t start_ns = mal_clock_thread_ns();
    working_here = true;
    uint64_t released = walk(request, cursor_page);
    working_here = false;
    mal_scavenger_count(request->reason, released, mal_clock_thread_ns() - start_ns);
    mal_store_release(&working, 0u);
    return released;
}

/* The thread that made holes exists in the parent only, unless it is the one that forked, in a
 * signal handler, and goes on when that is over. Its span goes back on a list; what the kernel took
 * of it in the parent's memory before the fork reads as zero here, as free objects may. */
void mal_central_forget_in_child(void) {
    if (working_here)
        return;
    struct mal_span *span = busy;
    if (span) {
        struct central *central = mal_central_lock_class(span->class);
        span->flags &= (uint8_t)~MAL_SPAN_BUSY;
        mal_central_list(central, span);
        mal_central_unlock_class(central);
    }
    busy = NULL;
    mal_store_release(&working, 0u);
}
