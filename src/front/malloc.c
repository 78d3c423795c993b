/* SPDX-License-Identifier: Apache-2.0
 *
 * The malloc family, as C, POSIX and glibc document it.
 *
 * Every entry point exists as mallard_<name>; the overriding library exports libc's name as an
 * alias of it. errno is set here and where memory is short (base/no_memory.h). Sizes above
 * PTRDIFF_MAX fail. malloc(0) gives an object of its own. free and the frees inside realloc keep
 * errno.
 *
 * SYNCHRONIZATION. None here; front/slow.c has the rules.
 *
 * Must never be called by Mallard itself, but to free what it has kept for a while.
 */
#include "base/bits.h"
#include "base/no_memory.h"
#include "front/fast.h"
#include "front/init.h"
#include "front/large.h"
#include "front/pointer.h"
#include "gc/thread.h"
#include "mallard/mallard.h"
#include "os/alias.h"
#include "os/registers.h"
#include "os/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *mallard_memalign(size_t alignment, size_t bytes);
void *mallard_valloc(size_t bytes);
void *mallard_pvalloc(size_t bytes);
void mallard_cfree(void *pointer);
void mallard_free_sized(void *pointer, size_t bytes);
void mallard_free_aligned_sized(void *pointer, size_t alignment, size_t bytes);

MAL_PUBLIC void *mallard_malloc(size_t bytes) {
    return mal_alloc(bytes);
}

MAL_PUBLIC void mallard_free(void *pointer) {
    mal_release(pointer);
}

MAL_PUBLIC void *mallard_calloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return mal_no_memory();
    void *object = mal_alloc(total);
    if (object && (total <= MAL_MEDIUM_MAX_BYTES || !mal_large_is_zeroed(object)))
        memset(object, 0, total);
    return object;
}

/* Where the old block may stay: it is large enough, and not so large that moving would save half.
 */
static int fits_in_place(size_t usable_bytes, size_t bytes) {
    return bytes <= usable_bytes && (bytes >= usable_bytes / 2 || usable_bytes <= 64);
}

/* The loader's, of the calling thread: a stop may still read it. */
static bool is_own_table(const void *pointer) {
    return (const union mal_tls_entry *)pointer + 1 == mal_tls_own_table();
}

static void *move(void *pointer, size_t usable_bytes, size_t bytes) {
    void *moved = mal_alloc(bytes);
    if (!moved)
        return NULL;
    memcpy(moved, pointer, mal_min(usable_bytes, bytes));
    mal_release(is_own_table(pointer) ? mal_gc_thread_keep_table(pointer) : pointer);
    return moved;
}

/* Large blocks that grow step by step get room to grow into: an eighth more than asked for. Their
 * pages move where that can be done. */
static void *move_large(void *pointer, size_t usable_bytes, size_t bytes) {
    size_t roomy = bytes > usable_bytes ? bytes + bytes / 8 : bytes;
    void *moved = roomy > bytes ? mal_alloc(roomy) : NULL;
    if (!moved)
        return move(pointer, usable_bytes, bytes);
    switch (mal_move_pages(moved, pointer)) {
    case MAL_MOVE_REFUSED:
        memcpy(moved, pointer, usable_bytes);
        break;
    case MAL_MOVE_DONE:
        break;
    case MAL_MOVE_LOST:
        mal_release(moved);
        return move(pointer, usable_bytes, bytes);
    }
    mal_release(pointer);
    return moved;
}

MAL_PUBLIC void *mallard_realloc(void *pointer, size_t bytes) {
    if (!pointer)
        return mal_alloc(bytes);
    if (bytes == 0) {
        mal_release(pointer);
        return NULL;
    }
    if (bytes > PTRDIFF_MAX)
        return mal_no_memory();
    size_t usable_bytes = mal_usable_bytes(pointer, "realloc");
    if (fits_in_place(usable_bytes, bytes) || mal_resize_in_place(pointer, bytes))
        return pointer;
    if (usable_bytes > MAL_MEDIUM_MAX_BYTES)
        return move_large(pointer, usable_bytes, bytes);
    return move(pointer, usable_bytes, bytes);
}

MAL_PUBLIC void *mallard_reallocarray(void *pointer, size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total))
        return mal_no_memory();
    return mallard_realloc(pointer, total);
}

static void *allocate_aligned(size_t alignment, size_t bytes) {
    return alignment <= 16 ? mal_alloc(bytes) : mal_alloc_aligned(bytes, alignment);
}

/* glibc rounds odd alignments up to a power of two rather than refuse them. */
MAL_PUBLIC void *mallard_memalign(size_t alignment, size_t bytes) {
    if (alignment > (size_t)PTRDIFF_MAX + 1) {
        errno = EINVAL;
        return NULL;
    }
    return allocate_aligned(mal_pow2_ceil(alignment), bytes);
}

MAL_PUBLIC void *mallard_aligned_alloc(size_t alignment, size_t bytes) {
    if (!mal_is_pow2(alignment)) {
        errno = EINVAL;
        return NULL;
    }
    return allocate_aligned(alignment, bytes);
}

MAL_PUBLIC int mallard_posix_memalign(void **ret_pointer, size_t alignment, size_t bytes) {
    if (!mal_is_pow2(alignment) || alignment % sizeof(void *) != 0)
        return EINVAL;
    int saved_errno = errno;
    void *object = allocate_aligned(alignment, bytes);
    errno = saved_errno;
    if (!object)
        return ENOMEM;
    *ret_pointer = object;
    return 0;
}

MAL_PUBLIC void *mallard_valloc(size_t bytes) {
    return allocate_aligned(mal_vm_page_bytes(), bytes);
}

MAL_PUBLIC void *mallard_pvalloc(size_t bytes) {
    size_t page_bytes = mal_vm_page_bytes();
    if (bytes > PTRDIFF_MAX)
        return mal_no_memory();
    return allocate_aligned(page_bytes, mal_round_up(mal_max(bytes, 1), page_bytes));
}

MAL_PUBLIC size_t mallard_malloc_usable_size(void *pointer) {
    return mal_usable_bytes(pointer, "malloc_usable_size");
}

MAL_PUBLIC void mallard_cfree(void *pointer) {
    mal_release(pointer);
}

/* A wrong size is the caller's bug, but not one that can hurt here: the page map knows better. */
MAL_PUBLIC void mallard_free_sized(void *pointer, size_t bytes) {
    (void)bytes;
    mal_release(pointer);
}

MAL_PUBLIC void mallard_free_aligned_sized(void *pointer, size_t alignment, size_t bytes) {
    (void)alignment;
    (void)bytes;
    mal_release(pointer);
}

MAL_ALIAS(malloc, mallard_malloc);
MAL_ALIAS(free, mallard_free);
MAL_ALIAS(calloc, mallard_calloc);
MAL_ALIAS(realloc, mallard_realloc);
MAL_ALIAS(memalign, mallard_memalign);
MAL_ALIAS(aligned_alloc, mallard_aligned_alloc);
MAL_ALIAS(posix_memalign, mallard_posix_memalign);
MAL_ALIAS(valloc, mallard_valloc);
MAL_ALIAS(malloc_usable_size, mallard_malloc_usable_size);
