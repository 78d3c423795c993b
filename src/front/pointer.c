/* SPDX-License-Identifier: Apache-2.0
 *
 * What a pointer is.
 *
 * The fast path proves in two comparisons that a pointer is a plain object in use; here is what it
 * is else. The page map names the span, the span the class, the place in the span says whether an
 * object starts there, its state byte whether it is a sample, and its first word whether it is
 * free.
 *
 * SYNCHRONIZATION: none. Of an object that the caller owns the answer is exact; of a wrong pointer
 * whatever is said is good enough for a sentence.
 *
 * Must never let a wrong pointer pass: corruption that stops the program with a sentence is better
 * than corruption that does not.
 */
#include "front/pointer.h"

#include "base/check.h"
#include "front/init.h"
#include "meta/freed.h"
#include "meta/pagemap.h"
#include "pageheap/span.h"

#include <string.h>

static enum mal_pointer_kind kind_in_class_span(const void *pointer, const struct mal_span *span) {
    uint64_t offset = (uint64_t)((const char *)pointer - span->base);
    uint32_t size = mal_class[span->class].size_bytes;
    if (offset % size != 0 || offset / size >= span->object_count)
        return MAL_POINTER_INTERIOR;
    uint8_t state = mal_load_relaxed(mal_pagemap_state(pointer));
    if ((!mal_state_is_start(state) && !mal_state_is_sampled(state)) || mal_is_freed(pointer))
        return MAL_POINTER_FREED;
    return mal_state_is_sampled(state) ? MAL_POINTER_SAMPLED : MAL_POINTER_LIVE;
}

struct mal_pointer_facts mal_pointer_facts(const void *pointer) {
    struct mal_span *span = mal_is_initialised() ? mal_pagemap_span_of(pointer) : NULL;
    if (!span)
        return (struct mal_pointer_facts){MAL_POINTER_FOREIGN, NULL, 0};
    if (span->class == MAL_CLASS_GC)
        return (struct mal_pointer_facts){MAL_POINTER_COLLECTED, span, MAL_CLASS_GC};
    if (span->class != MAL_CLASS_LARGE)
        return (struct mal_pointer_facts){kind_in_class_span(pointer, span), span, span->class};
    enum mal_pointer_kind kind = pointer == span->base ? MAL_POINTER_LARGE : MAL_POINTER_INTERIOR;
    return (struct mal_pointer_facts){kind, span, MAL_CLASS_LARGE};
}

bool mal_pointer_is_in_heap(const void *pointer) {
    uint64_t extent = mal_load_relaxed(&mal_pagemap.extent_granules);
    return (uintptr_t)pointer - mal_pagemap.base < extent << MAL_GRANULE_SHIFT;
}

/* What it is called when a freed object is handed in again. */
static const char *fault_of_freed(const char *what) {
    return strcmp(what, "free") == 0 ? "double free" : "use after free";
}

/* Pages that hold no span were given out once, or never: a pointer there was freed long ago. A
 * pointer outside the heap may come from an allocator that was there before us. */
static void misuse_outside_spans(const void *pointer, const char *what) {
    if (mal_pointer_is_in_heap(pointer))
        mal_die("%s(%p): %s: no object is there any more", what, pointer, fault_of_freed(what));
    mal_die("%s(%p): foreign pointer: Mallard never gave it out", what, pointer);
}

MAL_SLOW void mal_pointer_die(const void *pointer, const char *what) {
    struct mal_pointer_facts facts = mal_pointer_facts(pointer);
    const struct mal_span *span = facts.span;
    if (!span)
        misuse_outside_spans(pointer, what);
    if (facts.kind == MAL_POINTER_COLLECTED)
        mal_die("%s(%p): object of the collected heap: use mallard_gc_free", what, pointer);
    if (facts.class == MAL_CLASS_LARGE)
        mal_die("%s(%p): interior pointer: %zu bytes into an object of %zu bytes", what, pointer,
                (size_t)((const char *)pointer - span->base), (size_t)mal_span_bytes(span));
    uint32_t size = mal_class[facts.class].size_bytes;
    if (facts.kind == MAL_POINTER_INTERIOR)
        mal_die("%s(%p): interior pointer: %zu bytes into an object of size class %u", what,
                pointer, (size_t)((const char *)pointer - span->base) % size, size);
    mal_die("%s(%p): %s of an object of size class %u", what, pointer, fault_of_freed(what), size);
}

/* Size of a plain object in use; 0 for any other pointer. */
static size_t size_if_live(const void *pointer) {
    uint64_t granule = mal_pagemap_granule(pointer);
    if (!mal_pagemap_covers(granule))
        return 0;
    uint64_t entry = mal_pagemap_entry(granule);
    bool starts = mal_load_relaxed(mal_entry_state(entry, granule)) == mal_state_start(granule);
    return starts && !mal_is_freed(pointer) ? mal_class[mal_entry_class(entry)].size_bytes : 0;
}

size_t mal_usable_bytes(const void *pointer, const char *what) {
    size_t size_bytes = size_if_live(pointer);
    if (size_bytes > 0 || !pointer)
        return size_bytes;
    struct mal_pointer_facts facts = mal_pointer_facts(pointer);
    if (facts.kind == MAL_POINTER_LIVE || facts.kind == MAL_POINTER_SAMPLED)
        return mal_class[facts.class].size_bytes;
    if (facts.kind != MAL_POINTER_LARGE)
        mal_pointer_die(pointer, what);
    return mal_span_bytes(facts.span);
}
