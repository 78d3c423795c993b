/* SPDX-License-Identifier: Apache-2.0
 *
 * Roots that are not threads': what the program registered, and the data segments of everything
 * that is loaded.
 *
 * A segment's words may hold pointers wherever the program may still write: writable segments, less
 * what the dynamic linker makes read-only after relocation (RELRO). Our own library's segments are
 * left out, since they hold nothing of the program's; in a program that links the archive they
 * cannot be told apart and are scanned with the rest. What dlmopen loaded counts too.
 *
 * SYNCHRONIZATION: the dynamic linker's lock is held while segments are visited, so none is
 * unmapped meanwhile. Ranges: gc/ranges.c.
 */
#include "gc/roots.h"

#include "base/atomic.h"
#include "gc/handles.h"
#include "gc/world.h"
#include "gc/world_private.h"
#include "os/namespaces.h"
#include "os/vm.h"

#include <errno.h>
#include <link.h>
#include <mallard/gc.h>
#include <stddef.h>

struct mal_gc_ranges mal_gc_roots = MAL_GC_RANGES_INIT;
struct mal_gc_ranges mal_gc_stacks = MAL_GC_RANGES_INIT;

MAL_PUBLIC int mallard_gc_root_add(const void *low, size_t bytes) {
    return mal_gc_ranges_add(&mal_gc_roots, (uintptr_t)low, bytes);
}

MAL_PUBLIC int mallard_gc_root_remove(const void *low, size_t bytes) {
    if (bytes == 0)
        return -ENOENT;
    return mal_gc_ranges_remove(&mal_gc_roots, (uintptr_t)low, bytes);
}

MAL_PUBLIC int mallard_gc_stack_add(void *low, size_t bytes) {
    return mal_gc_ranges_add(&mal_gc_stacks, (uintptr_t)low, bytes);
}

MAL_PUBLIC int mallard_gc_stack_remove(void *low) {
    return mal_gc_ranges_remove(&mal_gc_stacks, (uintptr_t)low, 0);
}

struct visitor {
    mal_gc_range_visit *visit;
    void *context;
};

static void visit_explicit(uintptr_t low, uintptr_t high, void *context) {
    const struct visitor *visitor = context;
    visitor->visit(low, high, MAL_GC_ROOT_EXPLICIT, visitor->context);
}

static void visit_root(struct mal_gc_range range, void *context) {
    visit_explicit(range.low, range.high, context);
}

void mal_gc_world_each_explicit(mal_gc_range_visit *visit, void *context) {
    struct visitor visitor = {visit, context};
    bool stopped = mal_load_acquire(&mal_gc_stop_epoch) & 1;
    mal_gc_ranges_each(&mal_gc_roots, stopped ? MAL_GC_WHILE_STOPPED : MAL_GC_WHILE_RUNNING,
                       visit_root, &visitor);
    mal_gc_handles_each_range(visit_explicit, &visitor);
}

static uintptr_t end_of(const struct dl_phdr_info *object, const ElfW(Phdr) * header) {
    return object->dlpi_addr + header->p_vaddr + header->p_memsz;
}

static bool holds(const struct dl_phdr_info *object, const void *address) {
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type == PT_LOAD &&
            (uintptr_t)address - (object->dlpi_addr + header->p_vaddr) < header->p_memsz)
            return true;
    }
    return false;
}

/* The program itself has no name. */
static bool is_our_library(const struct dl_phdr_info *object) {
    return object->dlpi_name && object->dlpi_name[0] && holds(object, &mal_gc_roots);
}

/* What is read-only by now: from the segment's start to the last whole page of PT_GNU_RELRO. */
static uintptr_t end_of_relro(const struct dl_phdr_info *object) {
    for (size_t i = 0; i < object->dlpi_phnum; i++)
        if (object->dlpi_phdr[i].p_type == PT_GNU_RELRO)
            return end_of(object, &object->dlpi_phdr[i]) & ~(mal_vm_page_bytes() - 1);
    return 0;
}

static void visit_object(const struct dl_phdr_info *object, void *context) {
    const struct visitor *visitor = context;
    if (is_our_library(object))
        return;
    uintptr_t relro_end = end_of_relro(object);
    for (size_t i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &object->dlpi_phdr[i];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_W))
            continue;
        uintptr_t low = object->dlpi_addr + header->p_vaddr;
        uintptr_t high = end_of(object, header);
        if (relro_end > low && relro_end <= high)
            low = relro_end;
        if (low < high)
            visitor->visit(low, high, MAL_GC_ROOT_SEGMENT, visitor->context);
    }
}

static int visit_listed(struct dl_phdr_info *object, size_t bytes, void *context) {
    (void)bytes;
    visit_object(object, context);
    return 0;
}

static int visit_unlisted(struct dl_phdr_info *any, size_t bytes, void *context) {
    (void)any;
    (void)bytes;
    mal_namespaces_each_object(visit_object, context);
    return 1; /* the lock was all that was wanted */
}

void mal_gc_world_each_segment(mal_gc_range_visit *visit, void *context) {
    struct visitor visitor = {visit, context};
    bool stopped = mal_load_acquire(&mal_gc_stop_epoch) & 1;
    if (!stopped)
        mal_gc_stop_lock_take();
    dl_iterate_phdr(visit_listed, &visitor);
    dl_iterate_phdr(visit_unlisted, &visitor);
    if (!stopped)
        mal_gc_stop_lock_give();
}

static struct mal_gc_ranges *const sets[] = {&mal_gc_roots, &mal_gc_stacks};

/* Two locks of one rank: nobody else ever holds both. */
void mal_gc_roots_before_fork(void) {
    for (size_t i = 0; i < MAL_COUNT_OF(sets); i++) {
        mal_lock(&sets[i]->lock);
        mal_lock_note_released(&sets[i]->lock);
    }
    mal_lock_note_taken(&sets[0]->lock);
}

/* A visitor of the parent's does not exist in the child. */
void mal_gc_roots_after_fork(bool child) {
    for (size_t i = 0; i < MAL_COUNT_OF(sets); i++) {
        if (child)
            mal_store_release(&sets[i]->visit_lock, 0u);
        mal_unlock(&sets[i]->lock);
    }
}
