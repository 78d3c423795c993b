/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a stopped thread's pointers lie: registers, stack, thread-local storage.
 *
 *     stack      [sp, high end of the home stack). A thread stopped by the signal has its
 *                registers, vector ones too, in the signal frame, which lies above sp; the red zone
 *                below the interrupted stack pointer lies between. libc puts a created thread's
 *                static thread-local block and its own descriptor at the high end of the stack.
 *     registers  in a blocking region: `saved`
 *     elsewhere  sp outside the home stack (sigaltstack, coroutines): the whole home stack as far
 *                as it was ever used, since how deep it was is not known, and the stack that sp is
 *                on: one that the program registered, or a block of Mallard's malloc, or the
 *                mapping
 *     dynamic    the blocks that the thread's table of modules leads to
 *     first      its static block is no part of its stack: the mapping around its thread pointer
 *
 * A THREAD MAY BE STOPPED WHILE ITS TABLE CHANGES, in the loader, which takes no lock for it. What
 * it does there, and what a stop sees in between:
 *
 *     frees a block of a module that is gone, then clears its entry
 *                a block that is free, or somebody else's: an object of malloc's all the same,
 *                whose words are read as any
 *     enlarges the table in place, says so in the counter, then clears the new entries
 *                entries of any content: believed when they lead into an object of malloc's, and
 *                into a mapping at least, and only as far as that goes
 *     moves the table, then stores where it is
 *                the old one, with all the blocks that there are. realloc does not free it before
 *                the thread moves it once more, or ends: see mal_gc_thread_keep_table
 *     makes a block, then stores it in its entry
 *                no block; the program has not got it yet
 *
 * The table's own memory is read as far as its object or mapping goes, whatever its counter says.
 * Where malloc is not Mallard's, realloc frees the old table as ever: its entries may be anything,
 * and blocks may be missed.
 *
 * SYNCHRONIZATION: the world is stopped, and the stopping thread visits.
 *
 * Must never read memory that may not be mapped: bounds come from libc once per thread, from the
 * kernel, or from our own page map.
 */
#include "base/bits.h"
#include "gc/roots.h"
#include "gc/thread.h"
#include "gc/world.h"
#include "meta/classes.h"
#include "meta/pagemap.h"
#include "os/kernel.h"
#include "os/maps.h"
#include "os/registers.h"
#include "pageheap/span.h"

#include <link.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <unistd.h>

struct visitor {
    mal_gc_range_visit *visit;
    void *context;
};

static void visit_part(uintptr_t low, uintptr_t high, void *context) {
    const struct visitor *visitor = context;
    visitor->visit(low & ~(sizeof(void *) - 1), high, MAL_GC_ROOT_STACK, visitor->context);
}

static void visit_registered(struct mal_gc_range range, void *context) {
    visit_part(range.low, range.high, context);
}

static bool is_first(const struct mal_gc_thread *thread) {
    return thread->tid == mal_own_pid();
}

struct bounds {
    uintptr_t low, high;
};

/* Of a thread that was met by a stop and has not said more: looked up anew at every stop, since the
 * kernel may have joined its mapping with a neighbour that goes away. The first thread's stack
 * holds the kernel's random bytes at its high end, any other's its descriptor. */
static struct bounds home_of(const struct mal_gc_thread *thread) {
    struct bounds home = {thread->stack_low, thread->stack_high};
    uintptr_t inside = is_first(thread) ? getauxval(AT_RANDOM) : thread->thread_pointer;
    if (home.high == 0 && !mal_mapping_of(inside, &home.low, &home.high))
        return (struct bounds){0, 0};
    return home;
}

static bool is_in(uintptr_t address, uintptr_t low, uintptr_t high) {
    return address >= low && address < high;
}

/* A block of malloc's; *ret_high is the end of the span that it lies in. */
static bool is_in_block(uintptr_t address, uintptr_t *ret_high) {
    struct mal_span *span = mal_pagemap_span_of((const void *)address);
    if (!span)
        return false;
    *ret_high = (uintptr_t)span->base + (uintptr_t)span->pages * MAL_PAGE_BYTES;
    return true;
}

static void visit_foreign_stack(uintptr_t sp, struct visitor *visitor) {
    struct mal_gc_range registered;
    uintptr_t low;
    uintptr_t high;
    if (mal_gc_ranges_find(&mal_gc_stacks, sp, &registered))
        return; /* visited with the others */
    if (is_in_block(sp, &high) || mal_mapping_of(sp, &low, &high))
        visit_part(sp, high, visitor);
}

/* Only a part of the first thread's stack is mapped. */
static void visit_whole_home(struct bounds home, struct visitor *visitor) {
    uintptr_t low;
    uintptr_t high;
    if (home.high != 0 && mal_mapping_of(home.high - 1, &low, &high))
        mal_mapping_each_populated(mal_max(low, home.low), home.high, visit_part, visitor);
}

static void visit_stack(struct mal_gc_thread *thread, struct visitor *visitor) {
    struct bounds home = home_of(thread);
    if (is_in(thread->sp, home.low, home.high)) {
        visit_part(thread->sp, home.high, visitor);
        return;
    }
    visit_foreign_stack(thread->sp, visitor);
    visit_whole_home(home, visitor);
}

/* Below the thread pointer, or above it, per machine. */
#define STATIC_BLOCK_MOST_BYTES (1u << 20)

/* Larger thread-local variables of the first thread are found through its table. */
static void visit_first_block(const struct mal_gc_thread *thread, struct visitor *visitor) {
    uintptr_t low;
    uintptr_t high;
    uintptr_t pointer = thread->thread_pointer;
    if (!mal_mapping_of(pointer, &low, &high))
        return;
    low = mal_max(low, pointer - STATIC_BLOCK_MOST_BYTES);
    high = mal_min(high, pointer + STATIC_BLOCK_MOST_BYTES);
    visitor->visit(low, high, MAL_GC_ROOT_TLS, visitor->context);
}

/* ---- blocks of thread-local storage outside the stack ---- */

/* The end of malloc's object that the address lies in; 0 when it lies in none. */
static uintptr_t end_of_object(uintptr_t address) {
    const struct mal_span *span = mal_pagemap_span_of((const void *)address);
    if (span && span->state == MAL_SPAN_LARGE)
        return (uintptr_t)span->base + (uintptr_t)span->pages * MAL_PAGE_BYTES;
    if (!span || span->state != MAL_SPAN_CENTRAL)
        return 0;
    uintptr_t bytes = mal_class[span->class].size_bytes;
    uintptr_t before = (address - (uintptr_t)span->base) / bytes * bytes;
    return (uintptr_t)span->base + before + bytes;
}

struct table {
    const union mal_tls_entry *entry;
    size_t last; /* entry; entries from 1 on */
};

/* Of memory that is not malloc's, such as the first thread's before it grows: its mapping is looked
 * up when the table is another one than at the last stop. */
static uintptr_t end_of_foreign(struct mal_gc_thread *thread, const union mal_tls_entry *entry) {
    uintptr_t low;
    uintptr_t high = 0;
    if (thread->seen_table == entry && thread->seen_last == entry[-1].counter)
        return UINTPTR_MAX;
    if (!mal_mapping_of((uintptr_t)entry, &low, &high))
        return (uintptr_t)entry + sizeof *entry;
    if ((high - (uintptr_t)entry) / sizeof *entry > entry[-1].counter) {
        thread->seen_table = entry;
        thread->seen_last = entry[-1].counter;
    }
    return high;
}

/* The table of the thread, as far as it is there. */
static struct table table_of(struct mal_gc_thread *thread) {
    const union mal_tls_entry *entry = NULL;
    if (thread->thread_pointer != 0)
        entry = mal_tls_table(thread->thread_pointer);
    if (!entry)
        return (struct table){NULL, 0};
    uintptr_t end = end_of_object((uintptr_t)&entry[-1]);
    if (!end)
        end = end_of_foreign(thread, entry);
    size_t most = (end - (uintptr_t)entry) / sizeof *entry - 1;
    return (struct table){entry, mal_min(entry[-1].counter, most)};
}

/* 0: not made yet. */
static uintptr_t block_at(const union mal_tls_entry *entry) {
    return entry->module.block == UINTPTR_MAX ? 0 : entry->module.block;
}

/* Visited with its stack, or by visit_first_block. */
static bool is_static(const struct mal_gc_thread *thread, uintptr_t block) {
    if (thread->stack_high != 0 && !is_first(thread))
        return is_in(block, thread->stack_low, thread->stack_high);
    return block + STATIC_BLOCK_MOST_BYTES - thread->thread_pointer < 2 * STATIC_BLOCK_MOST_BYTES;
}

/* Those that came from malloc, of whatever module. */
static void visit_table(struct mal_gc_thread *thread, struct visitor *visitor) {
    struct table table = table_of(thread);
    for (size_t i = 1; i <= table.last; i++) {
        uintptr_t block = block_at(&table.entry[i]);
        uintptr_t end = block && !is_static(thread, block) ? end_of_object(block) : 0;
        if (end)
            visitor->visit(block & ~(sizeof(void *) - 1), end, MAL_GC_ROOT_TLS, visitor->context);
    }
}

struct module {
    struct visitor visitor;
    size_t number;
    size_t bytes;
};

/* One that came from elsewhere, where malloc is not Mallard's. */
static void visit_block(struct mal_gc_thread *thread, void *context) {
    const struct module *module = context;
    struct table table = table_of(thread);
    uintptr_t low;
    uintptr_t high;
    if (module->number > table.last)
        return;
    uintptr_t block = block_at(&table.entry[module->number]);
    if (block && !is_static(thread, block) && end_of_object(block) == 0 &&
        mal_mapping_of(block, &low, &high))
        module->visitor.visit(block & ~(sizeof(void *) - 1), mal_min(high, block + module->bytes),
                              MAL_GC_ROOT_TLS, module->visitor.context);
}

static size_t tls_bytes(const struct dl_phdr_info *object) {
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_TLS)
            return object->dlpi_phdr[i].p_memsz;
    return 0;
}

static int visit_module(struct dl_phdr_info *object, size_t bytes, void *context) {
    struct module module = {*(const struct visitor *)context, object->dlpi_tls_modid,
                            tls_bytes(object)};
    (void)bytes;
    if (module.number != 0 && module.bytes != 0)
        mal_gc_thread_each(visit_block, &module);
    return 0;
}

static void visit_thread(struct mal_gc_thread *thread, void *context) {
    struct visitor *visitor = context;
    if (thread->blocking_depth > 0)
        visit_part((uintptr_t)thread->saved, (uintptr_t)(thread->saved + MAL_SAVED_REGISTERS),
                   visitor);
    visit_stack(thread, visitor);
    visit_table(thread, visitor);
    if (is_first(thread))
        visit_first_block(thread, visitor);
}

void mal_gc_world_each_stack(mal_gc_range_visit *visit, void *context) {
    struct visitor visitor = {visit, context};
    mal_gc_thread_each(visit_thread, &visitor);
    mal_gc_ranges_each(&mal_gc_stacks, MAL_GC_WHILE_STOPPED, visit_registered, &visitor);
    dl_iterate_phdr(visit_module, &visitor);
}
