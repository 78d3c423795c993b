/* SPDX-License-Identifier: Apache-2.0
 *
 * The oracle: everything reachable is marked.
 *
 * Traces the heap a second time, with the world stopped, on bits of its own and with code of its
 * own: divisions instead of magic numbers, one word at a time, a plain stack. What it reaches must
 * be marked; the first object that is not ends the process with a sentence that says where the
 * pointer to it lies. Then what must hold of the tables at that moment:
 *
 *     a mark bit is set             =>  its alloc bit is set, and what its object leads to has its
 *                                       mark bit set
 *     an alloc bit is set           =>  its page has an entry
 *     a page has an entry           =>  the page map has a collected span of that class there
 *     a special hangs on an object  =>  that object is allocated, and begins there
 *
 * That marks are closed says more than the trace: an object that died while marking went on proves
 * as well as a live one that a page was scanned before it was cleared, or not at all.
 *
 * Path up: two mappings, for as long as it runs. Path down: unmapped.
 *
 * SYNCHRONIZATION: world stopped, one thread.
 *
 * Must never set a mark bit.
 */
#include "base/check.h"
#include "base/attr.h"
#include "base/bits.h"
#include "gc/mark.h"
#include "gc/spans.h"
#include "gc/specials_table.h"
#include "gc/work.h"
#include "meta/pagemap.h"
#include "os/vm.h"

struct mal_gc_check {
    uint8_t *seen;   /* one bit per granule */
    uint64_t *stack; /* objects to be looked into, each once */
    size_t depth;
    size_t seen_bytes, stack_bytes;
};

struct object {
    uint64_t offset, bytes;
};

/* The allocated object that holds the address, by division. */
static bool find(uintptr_t address, struct object *ret_object) {
    uint64_t offset = address - mal_gc_tables.base;
    if (offset >= mal_gc_tables.limit || mal_gc_page_at(offset) == 0)
        return false;
    const struct mal_span *span = mal_pagemap.span[offset >> MAL_PAGE_SHIFT];
    uint64_t start = (uintptr_t)span->base - mal_gc_tables.base;
    uint64_t bytes = span->gc.object_bytes;
    *ret_object = (struct object){start + (offset - start) / bytes * bytes, bytes};
    return mal_gc_line_at(ret_object->offset)->alloc & mal_gc_bit_at(ret_object->offset);
}

static void require_mark(struct object object, uintptr_t from) {
    if (!(mal_gc_line_at(object.offset)->mark & mal_gc_bit_at(object.offset)))
        mal_die("checkmark: an object of %llu bytes at %p is reachable through %p and not marked",
                (unsigned long long)object.bytes, (void *)(mal_gc_tables.base + object.offset),
                (void *)from);
}

static void reach(struct mal_gc_check *check, uintptr_t word, uintptr_t from) {
    struct object object;
    if (!find(word, &object))
        return;
    uint64_t granule = object.offset >> MAL_GRANULE_SHIFT;
    uint8_t bit = (uint8_t)(1u << (granule & 7));
    if (check->seen[granule >> 3] & bit)
        return;
    check->seen[granule >> 3] |= bit;
    require_mark(object, from);
    if (!(mal_gc_page_at(object.offset) & MAL_GC_PAGE_NOSCAN))
        check->stack[check->depth++] = object.offset;
}

static bool is_pointer_word(uint64_t at) {
    return *mal_gc_pointer_word(at) >> (at / sizeof(uintptr_t) & 63) & 1;
}

void mal_gc_check_contents(struct mal_gc_check *check, uint64_t from, uint64_t to) {
    for (uint64_t at = from; at < to; at += sizeof(uintptr_t)) {
        uintptr_t *word = (uintptr_t *)(mal_gc_tables.base + at);
        if (is_pointer_word(at))
            reach(check, *word, (uintptr_t)word);
    }
}

static void look_into(struct mal_gc_check *check, uint64_t offset) {
    struct object object = {0, 0};
    find(mal_gc_tables.base + offset, &object);
    mal_gc_check_contents(check, offset, offset + object.bytes);
}

MAL_READS_ANYTHING void mal_gc_check_range(struct mal_gc_check *check, uintptr_t low,
                                           uintptr_t high) {
    low = mal_round_up(low, sizeof(uintptr_t));
    for (; low < high && high - low >= sizeof(uintptr_t); low += sizeof(uintptr_t))
        reach(check, *(uintptr_t *)low, low);
}

void mal_gc_check_word(struct mal_gc_check *check, uintptr_t word) {
    reach(check, word, 0);
}

/* Room for every granule; only what is used is touched. */
static bool open(struct mal_gc_check *check) {
    uint64_t granules = mal_gc_tables.limit >> MAL_GRANULE_SHIFT;
    check->seen_bytes = mal_round_up(granules / 8 + 1, mal_vm_page_bytes());
    check->stack_bytes = mal_round_up(granules * sizeof(uint64_t) + 1, mal_vm_page_bytes());
    check->seen = mal_vm_map(check->seen_bytes);
    check->stack = mal_vm_map(check->stack_bytes);
    return check->seen && check->stack;
}

static void close(struct mal_gc_check *check) {
    if (check->seen)
        mal_vm_unmap(check->seen, check->seen_bytes);
    if (check->stack)
        mal_vm_unmap(check->stack, check->stack_bytes);
}

/* ---- the tables ---- */

static void check_line(uint64_t offset) {
    const struct mal_gc_line *line = mal_gc_line_at(offset);
    if (line->mark & ~line->alloc)
        mal_die("checkmark: marks %llx of allocations %llx at %p", (unsigned long long)line->mark,
                (unsigned long long)line->alloc, (void *)(mal_gc_tables.base + offset));
    if (line->alloc && mal_gc_page_at(offset) == 0)
        mal_die("checkmark: allocations %llx at %p, which is no page of the heap",
                (unsigned long long)line->alloc, (void *)(mal_gc_tables.base + offset));
}

static void check_page(uint64_t offset) {
    uint32_t page = mal_gc_page_at(offset);
    const struct mal_span *span = mal_load_relaxed(&mal_pagemap.span[offset >> MAL_PAGE_SHIFT]);
    if (page && (!span || span->state != MAL_SPAN_GC ||
                 span->gc.span_class != mal_gc_page_span_class(page)))
        mal_die("checkmark: page %p has entry %x, and another span in the page map",
                (void *)(mal_gc_tables.base + offset), page);
}

static void check_leads(uint64_t offset) {
    struct object object = {0, 0};
    struct object other;
    find(mal_gc_tables.base + offset, &object);
    for (uint64_t at = offset; at < offset + object.bytes; at += sizeof(uintptr_t)) {
        uintptr_t *word = (uintptr_t *)(mal_gc_tables.base + at);
        if (is_pointer_word(at) && find(*word, &other))
            require_mark(other, (uintptr_t)word);
    }
}

static void check_closed(uint64_t offset) {
    uint64_t marks = mal_gc_line_at(offset)->mark;
    if (mal_gc_page_at(offset) & MAL_GC_PAGE_NOSCAN)
        return;
    for (; marks; marks &= marks - 1)
        check_leads(offset + ((uint64_t)__builtin_ctzll(marks) << MAL_GRANULE_SHIFT));
}

static void check_special(struct mal_special *special, void *unused) {
    (void)unused;
    struct object object;
    if (!find(special->object, &object) || mal_gc_tables.base + object.offset != special->object)
        mal_die("checkmark: a special of kind %u hangs on %p, where no object begins",
                special->kind, (void *)special->object);
}

static void check_tables(void) {
    for (uint64_t offset = 0; offset < mal_gc_tables.limit; offset += MAL_PAGE_BYTES)
        check_page(offset);
    for (uint64_t offset = 0; offset < mal_gc_tables.limit; offset += MAL_GC_WINDOW_BYTES) {
        check_line(offset);
        check_closed(offset);
    }
    mal_special_each(check_special, NULL);
}

void mal_gc_checkmark(void (*push_roots)(struct mal_gc_worker *worker)) {
    static struct mal_gc_worker worker;
    struct mal_gc_check check = {0};
    if (open(&check)) {
        worker.check = &check;
        push_roots(&worker);
        while (check.depth > 0)
            look_into(&check, check.stack[--check.depth]);
    }
    close(&check);
    check_tables();
}

uint64_t mal_gc_check_marked_bytes(void) {
    uint64_t bytes = 0;
    for (uint64_t offset = 0; offset < mal_gc_tables.limit; offset += MAL_GC_WINDOW_BYTES)
        if (mal_gc_line_at(offset)->mark)
            bytes += (uint64_t)mal_popcount(mal_gc_line_at(offset)->mark) *
                     mal_pagemap.span[offset >> MAL_PAGE_SHIFT]->gc.object_bytes;
    return bytes;
}
