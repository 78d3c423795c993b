/* SPDX-License-Identifier: Apache-2.0
 *
 * From types to pointer bits.
 *
 * A scan object's slot has one bit per word: set where a pointer may be. They are cleared with the
 * slot's memory and written when it is handed out, or for a whole window ahead where objects are
 * likely to be of one type; for the whole slot, so that an array may later grow inside it. Path up:
 * set runs: those of the head, then those of each element that begins before the slot's end. Path
 * down: none; stale bits of a free slot are not looked at.
 *
 * Who clears is in a critical section, and a gibibyte has 32 MiB of lines: of a very large span
 * they are given back to the system and so read as zero. It has no allocations and no marks then,
 * and pages that its neighbours have lines in are left.
 *
 * SYNCHRONIZATION: words are written by the one thread that caches the span, read by markers at any
 * time: relaxed atomics. A marker that sees half of it looks at an object that is all zero still;
 * every pointer is stored later, on a page that is looked at again.
 */
#include "gc/alloc.h"

#include "base/bits.h"
#include "mallard/gc_type.h"
#include "os/vm.h"

#define WORD_BYTES sizeof(uintptr_t)
#define BLOCK_BYTES (64 * WORD_BYTES) /* that one word of bits stands for */
#define FORGET_BYTES (64ull << 20)    /* of a span: its lines fill 2 MiB */

/* The bits of the words in [from, to), which lie in one block. */
static void write_block(uint64_t from, uint64_t to, uint64_t bits) {
    uint64_t *word = mal_gc_pointer_word(from);
    uint64_t mask = mal_mask((from / WORD_BYTES) & 63, (unsigned)((to - from) / WORD_BYTES));
    mal_store_relaxed(word, (mal_load_relaxed(word) & ~mask) | (bits & mask));
}

/* All bits of the words in [from, to) become `bits`: all ones or all zeros. */
static void write_range(uint64_t from, uint64_t to, uint64_t bits) {
    while (from < to) {
        uint64_t end = mal_min(to, mal_round_down(from, BLOCK_BYTES) + BLOCK_BYTES);
        write_block(from, end, bits);
        from = end;
    }
}

static void write_runs(uint64_t at, uint64_t end, const struct mallard_gc_run *runs,
                       uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t from = at + runs[i].offset_bytes;
        if (from < end)
            write_range(from, mal_min(from + runs[i].bytes, end), ~0ull);
    }
}

static bool is_all_pointers(const struct mallard_gc_run *runs, uint32_t count, size_t bytes) {
    return count == 1 && runs->offset_bytes == 0 && runs->bytes == bytes;
}

/* The same runs again and again, every `step` bytes. */
static void write_repeated(uint64_t from, uint64_t end, size_t step,
                           const struct mallard_gc_run *runs, uint32_t count) {
    if (count == 0 || step == 0)
        return;
    if (is_all_pointers(runs, count, step)) {
        write_range(from, end, ~0ull);
        return;
    }
    for (uint64_t at = from; at < end; at += step)
        write_runs(at, end, runs, count);
}

void mal_gc_layout_clear(uint64_t offset, uint64_t bytes) {
    write_range(offset, offset + bytes, 0);
}

/* The lines of [from, to), which fill whole pages of the OS: false where they may not read as zero.
 */
static bool forget_lines(uint64_t from, uint64_t to) {
    struct mal_gc_line *line = mal_gc_line_at(from);
    return mal_vm_release(line, (to - from) / MAL_GC_WINDOW_BYTES * sizeof *line) == 0 &&
           mal_vm_released_is_zero();
}

void mal_gc_layout_clear_span(uint64_t offset, uint64_t bytes) {
    uint64_t end = offset + bytes;
    uint64_t unit = mal_vm_page_bytes() / sizeof(struct mal_gc_line) * MAL_GC_WINDOW_BYTES;
    uint64_t from = mal_round_up(offset, unit), to = mal_round_down(end, unit);
    if (bytes < FORGET_BYTES || !forget_lines(from, to))
        from = to = end;
    write_range(offset, from, 0);
    write_range(to, end, 0);
}

static void replace_bits(uint64_t offset, uint64_t which, uint64_t bits) {
    uint64_t *word = mal_gc_pointer_word(offset);
    if (which)
        mal_store_relaxed(word, (mal_load_relaxed(word) & ~which) | bits);
}

/* Slots do not overlap, so the product of where they begin and the bits of one of them is the bits
 * of all of them: there are no carries. The last one may reach into the next block. */
static void fill_block(uint64_t offset, uint64_t starts, uint64_t slot, uint64_t mask) {
    unsigned __int128 which = (unsigned __int128)starts * slot;
    unsigned __int128 bits = (unsigned __int128)starts * mask;
    replace_bits(offset, (uint64_t)which, (uint64_t)bits);
    replace_bits(offset + BLOCK_BYTES, (uint64_t)(which >> 64), (uint64_t)(bits >> 64));
}

void mal_gc_layout_fill(uint64_t window_offset, uint64_t slots, uint64_t slot_bytes,
                        uint64_t mask) {
    uint64_t slot = ~0ull >> (64 - slot_bytes / WORD_BYTES);
    fill_block(window_offset, mal_gc_spread((uint32_t)slots), slot, mask);
    fill_block(window_offset + BLOCK_BYTES, mal_gc_spread((uint32_t)(slots >> 32)), slot, mask);
}

void mal_gc_layout_write(uint64_t offset, uint64_t slot_bytes,
                         const struct mal_gc_request *request) {
    const struct mallard_gc_type *type = request->type;
    uint64_t end = offset + slot_bytes;
    if (request->layout == MAL_GC_LAYOUT_CONSERVATIVE)
        write_range(offset, end, ~0ull);
    if (request->layout == MAL_GC_LAYOUT_TYPE)
        write_repeated(offset, end, type->bytes, type->runs, type->run_count);
    if (request->layout != MAL_GC_LAYOUT_FLEX)
        return;
    write_runs(offset, end, type->runs, type->run_count);
    write_repeated(offset + type->array_offset, end, type->element_bytes, type->element_runs,
                   type->element_run_count);
}
