/* SPDX-License-Identifier: Apache-2.0
 *
 * An allocator as others are: the common names, and an end to whoever gives it what is not its own.
 * See beside.py.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_BYTES (256u << 20)

static char room[ROOM_BYTES] __attribute__((aligned(4096)));
static size_t used_bytes = 4096; /* atomic */
long other_live_objects;         /* atomic */

void *memalign(size_t alignment, size_t bytes) {
    size_t step = alignment > 32 ? alignment : 32;
    size_t whole = bytes + 2 * step;
    size_t at = __atomic_fetch_add(&used_bytes, (whole + 31) & ~(size_t)31, __ATOMIC_RELAXED);
    if (bytes > ROOM_BYTES || at + whole > ROOM_BYTES) {
        errno = ENOMEM;
        return NULL;
    }
    char *object = (char *)(((uintptr_t)room + at + step + step - 1) & ~(step - 1));
    ((size_t *)object)[-1] = bytes;
    __atomic_fetch_add(&other_live_objects, 1, __ATOMIC_RELAXED);
    return object;
}

void *malloc(size_t bytes) {
    return memalign(16, bytes);
}

void free(void *pointer) {
    char *object = pointer;
    if (!object)
        return;
    if (object < room || object >= room + ROOM_BYTES)
        abort();
    __atomic_fetch_sub(&other_live_objects, 1, __ATOMIC_RELAXED);
}

void *calloc(size_t count, size_t bytes) {
    size_t total;
    return __builtin_mul_overflow(count, bytes, &total) ? NULL : malloc(total);
}

void *realloc(void *pointer, size_t bytes) {
    void *object = malloc(bytes);
    free(pointer);
    if (object && pointer) {
        size_t before = ((size_t *)pointer)[-1];
        memcpy(object, pointer, before < bytes ? before : bytes);
    }
    return object;
}

int posix_memalign(void **object, size_t alignment, size_t bytes) {
    *object = memalign(alignment, bytes);
    return *object ? 0 : ENOMEM;
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    return memalign(alignment, bytes);
}

void *valloc(size_t bytes) {
    return memalign(4096, bytes);
}

size_t malloc_usable_size(void *pointer) {
    return pointer ? ((size_t *)pointer)[-1] : 0;
}
