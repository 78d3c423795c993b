/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory from malloc as roots.
 *
 * For finding out whether a program lost an object because the only pointer to it lay in malloc'd
 * memory. Walks the page heap's spans while the world is stopped and takes each object that is not
 * marked as freed as a range of words; one that was written into after its free, or never handed
 * out, counts as well. A thread may be stopped inside malloc, between taking an object and clearing
 * its mark: the program has stored nothing in it yet.
 *
 * SYNCHRONIZATION: world stopped, all of Mallard's locks are free.
 */
#include "gc/malloc_roots.h"

#include "gc/mark.h"
#include "meta/classes.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "pageheap/pageheap.h"

#define VIEWS 64

static void mark_objects(struct mal_gc_worker *worker, const struct mal_span_view *view) {
    uint32_t bytes = mal_class[view->class].size_bytes;
    char *object = mal_pagemap_address(view->page);
    for (uint32_t i = 0; i < view->objects; i++, object += bytes)
        if (!mal_is_freed(object))
            mal_gc_mark_range(worker, (uintptr_t)object, (uintptr_t)object + bytes);
}

static void mark_span(struct mal_gc_worker *worker, const struct mal_span_view *view) {
    uintptr_t low = (uintptr_t)mal_pagemap_address(view->page);
    if (view->class == MAL_CLASS_LARGE)
        mal_gc_mark_range(worker, low, low + ((uintptr_t)view->pages << MAL_PAGE_SHIFT));
    else if (view->class < MAL_CLASS_COUNT)
        mark_objects(worker, view);
}

void mal_gc_malloc_roots_mark(struct mal_gc_worker *worker) {
    struct mal_span_view view[VIEWS];
    size_t end = mal_pageheap_end_page();
    for (size_t page = 0; page < end;) {
        size_t count = mal_pageheap_view(&page, view, VIEWS);
        for (size_t i = 0; i < count; i++)
            mark_span(worker, &view[i]);
    }
}
